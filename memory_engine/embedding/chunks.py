"""Cutting long texts for embedders that take any length."""

#: Characters of one chunk. A vector of more says little about any part of it.
CHUNK_CHARACTERS = 4_000


def cut(text: str) -> list[str]:
    """The text in pieces of at most 4,000 characters, cut at white space where there is any."""
    pieces = []
    while len(text) > CHUNK_CHARACTERS:
        end = text.rfind(" ", CHUNK_CHARACTERS // 2, CHUNK_CHARACTERS) + 1 or CHUNK_CHARACTERS
        pieces.append(text[:end])
        text = text[end:]
    return [*pieces, text]
