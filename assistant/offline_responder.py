"""The reply when no model is configured: what was recalled, quoted and dated. No wording is made up."""

from collections.abc import Sequence

from assistant.escaping import escape_text
from assistant.recalled_block import speaker
from memory_engine import RecallHit

#: What replies name as their model when there is none.
OFFLINE_MODEL = "offline"

_NOTICE = "(No model is configured, so I quote what I remember instead of answering in my own words.)"
_QUOTES = 3
_LONGEST_QUOTE = 400


def quoted_hits(hits: Sequence[RecallHit]) -> list[RecallHit]:
    """Those of the hits, best first, that a reply quotes."""
    return [hit for hit in hits if hit.role in ("user", "assistant")][:_QUOTES]


def offline_reply(hits: Sequence[RecallHit]) -> str:
    """A reply from the best hits, best first."""
    spoken = quoted_hits(hits)
    if not spoken:
        return f"I remember nothing that speaks to this.\n\n{_NOTICE}"
    quotes = "\n".join(_quoted(hit) for hit in spoken)
    return f"This is what I remember about it:\n\n{quotes}\n\n{_NOTICE}"


def _quoted(hit: RecallHit) -> str:
    text = " ".join(hit.text.split())
    if len(text) > _LONGEST_QUOTE:
        text = text[: _LONGEST_QUOTE - 1].rstrip() + "…"
    who = speaker(hit) if hit.name else "you" if hit.role == "user" else "the assistant"
    # The reply is sent in later prompts as the assistant's own words, so what it quotes is escaped as in the block.
    return escape_text(f"- On {hit.created_at:%-d %B %Y}, {who} said in {hit.conversation_id}: “{text}”")
