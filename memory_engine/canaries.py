"""Finding in any file what should be gone from all of them, without keeping what it was.

Of each text that is erased some windows of 16 bytes are kept as keyed 64-bit hashes. A scan hashes the window at every
byte of every file and looks for them, so that a receipt can be proved, and proved again, when the text is long gone.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

#: Bytes of a window.
WINDOW = 16
#: Windows that are kept of one text, at equal distances; all of them where it is at most a kibibyte.
_MOST = 64
#: A window of fewer different bytes stands in files by chance: zeros, blanks, rules.
_VARIETY = 6
#: Bytes of a file that are looked at together.
_BLOCK = 4 * 1024 * 1024
#: Bits of the hash that a table answers for, before the few that it lets through are looked up: at least so many, and
#: so many more than the wanted need, as memory allows.
_SIEVE_BITS, _SPARE_BITS, _MOST_BITS = 22, 6, 27
#: Between two looks whether a scan is to be broken off.
_GLANCE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Hasher:
    """A keyed hash of windows by two multipliers, one a word (multilinear hashing, Lemire and Kaser 2014)."""

    first: np.uint64
    second: np.uint64

    @classmethod
    def of(cls, key: bytes) -> "Hasher":
        """The hasher of a key of at least 16 bytes."""
        first, second = np.frombuffer(key[:16], "<u8")
        return cls(first | np.uint64(1), second | np.uint64(1))

    def everywhere(self, data: bytes) -> Hashes:
        """The hashes of the windows at every byte, in no order; empty for less than a window."""
        if len(data) < WINDOW:
            return np.zeros(0, np.uint64)
        found = []
        for shift in range(min(8, len(data) - WINDOW + 1)):
            words = np.frombuffer(data, "<u8", count=(len(data) - shift) // 8, offset=shift)
            found.append(self._mixed(words[:-1], words[1:]))
        return np.concatenate(found)

    def each(self, windows: Iterable[bytes]) -> Hashes:
        """The hash of each window."""
        words = np.frombuffer(b"".join(windows), "<u8")
        return self._mixed(words[::2], words[1::2])

    def _mixed(self, first: Hashes, second: Hashes) -> Hashes:
        mixed = first * self.first + second * self.second
        return np.bitwise_xor(mixed, np.right_shift(mixed, np.uint64(29)))


def canaries_of(hasher: Hasher, texts: Iterable[bytes]) -> Hashes:
    """The hashes by which these texts are looked for; a text shorter than a window has none."""
    return np.unique(hasher.each(window for text in texts for window in _windows(text)))


def forms_of(text: str) -> Iterator[bytes]:
    """The bytes that a text may stand in a file as: by itself, and inside JSON."""
    yield text.encode("utf-8", "surrogatepass")
    if not text.isascii():
        yield json.dumps(text)[1:-1].encode()


def _windows(text: bytes) -> Iterator[bytes]:
    step = max(WINDOW, len(text) // _MOST)
    for start in range(0, len(text) - WINDOW + 1, step):
        window = text[start : start + WINDOW]
        if len(set(window)) >= _VARIETY:
            yield window


class Sieve:
    """Finds which of some hashes occur among many."""

    def __init__(self, wanted: Hashes) -> None:
        """Take the hashes that are looked for."""
        self._wanted = np.unique(wanted)
        bits = min(_MOST_BITS, max(_SIEVE_BITS, len(self._wanted).bit_length() + _SPARE_BITS))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, bool)
        self._table[self._wanted >> self._shift] = True

    def caught(self, hashes: Hashes) -> set[int]:
        """Those of the wanted that are among these."""
        let_through = hashes[self._table[hashes >> self._shift]]
        return {int(value) for value in np.intersect1d(let_through, self._wanted)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """What a scan of files found."""

    files: int
    bytes: int
    #: For each canary that was found, a file that holds it.
    found: dict[int, str]


def scan(folder: Path, others: Iterable[Path], hasher: Hasher, wanted: Hashes, *, closing: threading.Event) -> Scanned:
    """Look through every byte of every file under the folder, and of the others, for these canaries.

    A file that goes away meanwhile is passed over: what is not there holds nothing.

    A process of its own looks. On POSIX whoever closes a file lets go of all the locks that the same process has on it,
    SQLite's among them: another program that then opened the database would take it for unused, remove the log, and
    truncate what is mapped into memory here (https://www.sqlite.org/howtocorrupt.html, 2.2).

    Args:
        folder: where to look.
        others: files elsewhere.
        hasher: makes the hashes.
        wanted: those that are looked for.
        closing: breaks the scan off.

    Raises:
        OSError: a file cannot be read, or the process ended before it was done.
    """
    asked = {
        "folder": str(folder),
        "others": [str(path) for path in others],
        "hasher": [int(hasher.first), int(hasher.second)],
        "wanted": wanted.tolist(),
    }
    # Run as a file, it imports nothing of the package but itself; -P keeps its neighbours from being taken for others'.
    command = [sys.executable, "-P", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as looking:
        answer = _answer_of(looking, json.dumps(asked), closing)
    if looking.returncode:
        raise OSError(f"the scan ended with code {looking.returncode}")
    told = json.loads(answer)
    if "error" in told:
        raise OSError(told["error"])
    found = {int(canary): name for canary, name in told["found"].items()}
    return Scanned(files=told["files"], bytes=told["bytes"], found=found)


def _answer_of(looking: subprocess.Popen[str], asked: str, closing: threading.Event) -> str:
    to_send: str | None = asked
    while True:
        try:
            return looking.communicate(to_send, timeout=_GLANCE_SECONDS)[0]
        except subprocess.TimeoutExpired:
            to_send = None  # what was not sent yet is sent with the next look
            if closing.is_set():
                looking.kill()


def _answer() -> None:
    """What the process does that looks: it reads what is asked from stdin, and prints what it found."""
    asked = json.loads(sys.stdin.read())
    hasher = Hasher(*(np.uint64(multiplier) for multiplier in asked["hasher"]))
    others = [Path(name) for name in asked["others"]]
    try:
        told = asdict(_looked_through(Path(asked["folder"]), others, hasher, np.array(asked["wanted"], np.uint64)))
    except OSError as exc:
        told = {"error": str(exc)}
    sys.stdout.write(json.dumps(told))


def _looked_through(folder: Path, others: Iterable[Path], hasher: Hasher, wanted: Hashes) -> Scanned:
    sieve = Sieve(wanted)
    files, size, found = 0, 0, dict[int, str]()
    for path in [*sorted(path for path in folder.rglob("*") if path.is_file()), *others]:
        try:
            for before, piece in _pieces(path):
                size += len(piece)
                for canary in sieve.caught(hasher.everywhere(before + piece)):
                    found.setdefault(canary, path.name)
        except FileNotFoundError:
            continue
        files += 1
    return Scanned(files=files, bytes=size, found=found)


def _pieces(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The file's bytes in pieces, each with the end of what stands before it, so that no window is cut."""
    before = b""
    with path.open("rb") as file:
        while piece := file.read(_BLOCK):
            yield before, piece
            before = (before + piece)[-(WINDOW - 1) :]


if __name__ == "__main__":
    _answer()
