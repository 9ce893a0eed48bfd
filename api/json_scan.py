"""Looks over a JSON body as it comes, before it is parsed: how deeply it is nested, and how many values it holds.

Parsing a body keeps the interpreter to itself, and a small body can hold very many values. The scan takes a fraction of
a millisecond for each piece of a body, and keeps none of them.
"""

import numpy as np

#: Levels of nesting, and values, of one body.
MAX_DEPTH, MAX_VALUES = 100, 250_000
_OTHERS = bytes(set(range(256)) - set(b'"[]{},'))


class TooDeep(Exception):
    """The body is nested over MAX_DEPTH levels."""


class TooManyValues(Exception):
    """The body holds over MAX_VALUES values."""


class JsonScan:
    """Counts what stands outside strings. What is not JSON is not its affair."""

    def __init__(self) -> None:
        self._depth = 0
        self._values = 0
        self._in_string = False
        #: A backslash at the end of the last piece, which belongs to what comes.
        self._held = b""

    def feed(self, piece: bytes) -> None:
        """Take the next piece of a body.

        Raises:
            TooDeep: it is nested too deeply.
            TooManyValues: it holds too many values.
        """
        piece = self._held + piece
        if b"\\" in piece:
            is_cut = (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1
            piece, self._held = (piece[:-1], b"\\") if is_cut else (piece, b"")
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        else:
            self._held = b""
        parts = piece.translate(None, _OTHERS).split(b'"')
        outside = b"".join(parts[1 if self._in_string else 0 :: 2])
        self._in_string ^= len(parts) % 2 == 0
        self._count(outside)

    def _count(self, outside: bytes) -> None:
        brackets = np.frombuffer(outside.translate(None, b","), np.uint8)
        opens = (brackets == ord("[")) | (brackets == ord("{"))
        self._values += len(outside) - len(brackets) + int(opens.sum())
        if self._values > MAX_VALUES:
            raise TooManyValues
        if len(brackets):
            depths = self._depth + np.cumsum(np.where(opens, 1, -1))
            self._depth = int(depths[-1])
            if depths.max() > MAX_DEPTH:
                raise TooDeep
