"""The lexical stratum: terms by language, and the BM25 index over them (ARCHITECTURE 13)."""
