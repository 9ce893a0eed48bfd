"""Reads Server-Sent Events from bytes as they come, however these are cut."""

import re
from collections.abc import Iterator

#: What ends a line: CR, LF or both, as bytes alone. Other breaks of lines are text (WHATWG HTML, 9.2.6).
_ENDS = re.compile(rb"[\r\n]")
#: UTF-8's mark of the order of bytes, which a stream may begin with.
_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class EventReader:
    """Takes pieces of a stream and gives the data of its events."""

    def __init__(self) -> None:
        #: Pieces of the line that has not ended yet: joined once, however many they are.
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self._is_first = True

    def feed(self, piece: bytes) -> Iterator[str]:
        """The data of the events that end within what has come so far."""
        self._rest.append(piece)
        if not _ENDS.search(piece) and not b"".join(self._rest[-2:-1]).endswith(b"\r"):
            return
        *lines, rest = _LINE_END.split(b"".join(self._rest))
        self._rest = [rest]
        for line in lines:
            yield from self._line(line)

    def end(self) -> Iterator[str]:
        """The data of an event that the end of the stream cut off before its empty line."""
        for line in (b"".join(self._rest).removesuffix(b"\r"), b""):
            yield from self._line(line)
        self._rest = []

    def _line(self, line: bytes) -> Iterator[str]:
        line, self._is_first = (line.removeprefix(_MARK) if self._is_first else line), False
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            yield b"\n".join(self._data).decode("utf-8", "replace")
            self._data = []
