"""The assistant's SQL."""
