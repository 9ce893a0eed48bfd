"""The tokenizer that the wordllama package brings, read without importing that package.

Importing wordllama costs a second (it loads an HTTP client and three compiled extensions that are not needed
here) and sets up the root logger; its files are all that we use (ADR 3).
"""

from functools import cache, lru_cache
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from memory_engine.errors import EmbedderUnavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
#: Counts that a counter remembers, of texts of so many characters at most: in a turn most texts are counted twice or
#: more, and in the next turn again.
_KNOWN, _SHORT = 4_096, 2_000
#: Characters that are counted as one: on a word without end the tokenizer takes more than linear time. Each cut adds
#: a token or two to the count.
_PIECE = 32_768


def bundled_file(relative: str) -> Path:
    """A file of the installed wordllama package.

    Raises:
        EmbedderUnavailable: the package or the file is missing.
    """
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderUnavailable("The package wordllama, which brings the default embedder, is missing.")
    path = Path(spec.submodule_search_locations[0]) / relative
    if not path.is_file():
        raise EmbedderUnavailable(f"The installed wordllama has no {relative}; is it version 0.4?")
    return path


@cache
def bundled_tokenizer() -> "Tokenizer":
    """The tokenizer (32,000 pieces, byte fallback), without padding or truncation. Safe across threads."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(bundled_file(_TOKENIZER)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # It would keep the last 10,000 texts in each thread, several KB of each: gigabytes, and what was erased among them.
    tokenizer.model._resize_cache(0)
    return tokenizer


class BundledTokenCounter:
    """Counts with the bundled tokenizer and adds a margin, because the model's own tokenizer differs."""

    def __init__(self, margin: float) -> None:
        """Take the margin as a share of the count: 0.1 counts a tenth more."""
        self._margin = margin
        self.name = f"wordllama+{margin:.0%}"

        self._known = lru_cache(maxsize=_KNOWN)(self._counted)

    def count(self, text: str) -> int:
        """How many tokens the text takes, the margin included."""
        return self._known(text) if len(text) <= _SHORT else self._counted(text)

    def _counted(self, text: str) -> int:
        pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
        # In a batch it does not work out where each piece stands in the text, which takes a quarter of the time.
        encoded = bundled_tokenizer().encode_batch_fast(pieces, add_special_tokens=False)
        return ceil(sum(map(len, encoded)) * (1 + self._margin))
