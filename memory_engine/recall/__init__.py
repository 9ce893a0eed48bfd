"""Recall: a question comes up once - candidates, fusion, spreading, ranking, explanation."""
