"""What tokens are counted with, and how a request is serialised to be counted."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assistant.settings import Settings
from memory_engine.ports import TokenCounter
from memory_engine.tokens import BundledTokenCounter

# tiktoken names its cached tables by the SHA-1 of the address that they came from.
#: Media within a request, which are no text: data URIs and audio.
_MEDIA = re.compile(r'(?:"data:[^",]{0,256};base64,|"data"\s{0,8}:\s{0,8}")[A-Za-z0-9+/=_-]*"')
#: Characters of a request that are counted; the rest is taken to be like them.
_COUNTED = 1_000_000
_TABLE = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"


class TiktokenCounter:
    """Counts as the current OpenAI models do."""

    name = "tiktoken/o200k_base"

    def __init__(self) -> None:
        import tiktoken

        self._encoding = tiktoken.get_encoding("o200k_base")

    def count(self, text: str) -> int:
        """How many tokens the text takes."""
        return len(self._encoding.encode(text, disallowed_special=()))


def open_counter(settings: Settings) -> TokenCounter:
    """Tiktoken's tables where they already are on this machine, else the bundled tokenizer with its margin."""
    folder: Path | None = settings.tiktoken_cache_dir
    table = hashlib.sha1(_TABLE.encode(), usedforsecurity=False).hexdigest()
    if folder is not None and (folder / table).is_file():
        return TiktokenCounter()
    return BundledTokenCounter(settings.token_margin)


def serialise(messages: Sequence[Mapping[str, Any]]) -> str:
    """The messages as they are counted and stored: compact JSON, not ASCII-escaped."""
    return json.dumps(list(messages), ensure_ascii=False, separators=(",", ":"))


def count_request(counter: TokenCounter, raw: bytes) -> int:
    """Return about how many tokens a request takes that comes as JSON, without its media."""
    if b"\\u" in raw:  # escapes are longer than what they stand for
        raw = json.dumps(json.loads(raw), ensure_ascii=False).encode("utf-8", "replace")
    text = _MEDIA.sub('""', raw.decode("utf-8", "replace"))
    counted = counter.count(text[:_COUNTED])
    return counted if len(text) <= _COUNTED else round(counted * len(text) / _COUNTED)


def count_messages(counter: TokenCounter, messages: Sequence[Mapping[str, Any]]) -> int:
    """Tokens of the serialised messages, roles, names and braces included."""
    return counter.count(serialise(messages))
