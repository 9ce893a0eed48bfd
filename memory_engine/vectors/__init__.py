"""Vector indexes: exact by numpy, approximate by Chroma. Both can always be rebuilt from SQL."""
