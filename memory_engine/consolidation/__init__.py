"""The stratum above the words: segments of conversations and their summaries, made in the background."""
