"""The strata that policies can speak of: each lists its rows, and those besides messages remove them by id."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Protocol

from memory_engine.models import ScopeKey
from memory_engine.retention import MESSAGES, Rows, Rule
from memory_engine.storage import prunes
from memory_engine.storage.database import Transaction
from memory_engine.storage.prunes import Activities


class Stratum(Protocol):
    """Rows that policies can speak of, besides messages."""

    def rows(self, db: Transaction, key: ScopeKey, agent: str | None, active: Activities) -> Rows:
        """The scope's rows, or those of one agent; `active` are its conversations."""
        ...

    def remove(self, db: Transaction, key: ScopeKey, ids: Sequence[Any]) -> int:
        """Remove rows by their ids; how many were there."""
        ...


#: When each message of a scope last stood in a prompt, by its id; microseconds.
Recalls = Callable[[Transaction, ScopeKey], Mapping[str, int]]


class Versions:
    """What messages said before they were edited."""

    def rows(self, db: Transaction, key: ScopeKey, agent: str | None, active: Activities) -> Rows:
        """The scope's versions, or those of one agent's messages."""
        return prunes.version_rows(db, key, agent, active)

    def remove(self, db: Transaction, key: ScopeKey, ids: Sequence[Any]) -> int:
        """Remove versions by pairs of seq and version."""
        return prunes.delete_versions(db, key, ids)


class OutlivedSummaries:
    """Summaries whose messages are gone by a policy."""

    def rows(self, db: Transaction, key: ScopeKey, agent: str | None, active: Activities) -> Rows:
        """The scope's summaries of that kind; they are no agent's."""
        return prunes.summary_rows(db, key, active)

    def remove(self, db: Transaction, key: ScopeKey, ids: Sequence[Any]) -> int:
        """Remove summaries by their ids."""
        return prunes.delete_summaries(db, key, ids)


class Listing:
    """The rows of one scope as rules ask for them; each is read once, however many rules speak of it."""

    def __init__(self, db: Transaction, key: ScopeKey, strata: Mapping[str, Stratum], recalls: Recalls | None) -> None:
        self._db = db
        self._key = key
        self._strata = strata
        self._recalls = recalls
        self._rows = cache(self._read)

    def of(self, rule: Rule) -> Rows:
        """What the rule speaks of; nothing where nobody keeps it, or nobody can tell what the rule asks.

        Raises:
            StoreError: the store does not answer.
        """
        if rule.unless_recalled_days is not None and self._recalls is None:
            return Rows.of_none()
        return self._rows(rule.stratum, rule.agent)

    @cached_property
    def _active(self) -> Activities:
        return prunes.activities(self._db, self._key)

    @cached_property
    def _recalled(self) -> Mapping[str, int]:
        return {} if self._recalls is None else self._recalls(self._db, self._key)

    def _read(self, stratum: str, agent: str | None) -> Rows:
        if stratum == MESSAGES:
            return prunes.message_rows(self._db, self._key, agent, self._active, self._recalled)
        if stratum in self._strata:
            return self._strata[stratum].rows(self._db, self._key, agent, self._active)
        return Rows.of_none()  # an engine without an assistant keeps no prompts
