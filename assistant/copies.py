"""The copies of messages that the assistant keeps: prompts as they were sent, and the logs of tools and models."""

from typing import Any

from assistant.builtin_tools import SEARCH_MEMORY
from assistant.storage import api_keys, contexts, model_log, tool_log
from memory_engine.erasure import Gone
from memory_engine.models import ScopeKey, to_micros
from memory_engine.ports import Clock
from memory_engine.storage.database import Transaction
from memory_engine.storage.receipts import REDACTED


class Copies:
    """Removes them with what they are copies of; an erasure tells it within its own transaction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def erase_messages(self, db: Transaction, key: ScopeKey, gone: Gone) -> dict[str, int]:
        """Empty the prompts that hold these messages, their quotes or notes, and remove the calls made for them."""
        now, message_ids = to_micros(self._clock.now()), gone.message_ids
        held = [*message_ids, *gone.quoting_ids, *gone.note_ids]
        return {
            "contexts": contexts.erase_contexts(db, key, held, receipt_id=gone.receipt_id, now=now),
            "tool_calls": tool_log.erase_calls(db, key, [*message_ids, *gone.quoting_ids]),
            "tool_outputs": tool_log.redact_calls(db, key, SEARCH_MEMORY, message_ids, REDACTED),
            "model_calls": model_log.erase_model_calls(db, key, message_ids),
        }

    def erase_scope(self, db: Transaction, key: ScopeKey) -> dict[str, int]:
        """Remove all that is kept for a scope."""
        return {
            "contexts": contexts.erase_scope(db, key),
            "tool_calls": tool_log.erase_scope(db, key),
            "model_calls": model_log.erase_scope(db, key),
        }

    def take_along(self, db: Transaction) -> dict[str, api_keys.Validity] | None:
        """Return the validity of the store's API keys, for `put_back`. None where it never had a table of keys."""
        return api_keys.validities(db)

    def put_back(self, db: Transaction, taken: Any) -> dict[str, int]:
        """Revoke restored API keys as the store before did, and count the changes and the valid keys.

        A key that was revoked stays revoked, and the earlier expiry counts. A key that the store before does not have
        is revoked. A key that was made after the backup is missing. With None the keys are those of the backup.
        """
        now = to_micros(self._clock.now())
        counts = {} if taken is None else api_keys.restrict(db, taken, now)
        valid = sum(each.is_valid(now) for each in (api_keys.validities(db) or {}).values())
        return {**counts, "keys_valid": valid}
