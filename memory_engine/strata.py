"""The strata that policies can speak of besides messages: each lists its rows and removes them by id."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from memory_engine.models import ScopeKey
from memory_engine.retention import Rows
from memory_engine.storage import prunes
from memory_engine.storage.database import Transaction


class Stratum(Protocol):
    """Rows that policies can speak of, besides messages."""

    def rows(self, db: Transaction, key: ScopeKey, agent: str | None) -> Rows:
        """The scope's rows, or those of one agent."""
        ...

    def remove(self, db: Transaction, key: ScopeKey, ids: Sequence[Any]) -> int:
        """Remove rows by their ids; how many were there."""
        ...


#: When each message of a scope last stood in a prompt, by its id; microseconds.
Recalls = Callable[[Transaction, ScopeKey], Mapping[str, int]]


class Versions:
    """What messages said before they were edited."""

    def rows(self, db: Transaction, key: ScopeKey, agent: str | None) -> Rows:
        """The scope's versions, or those of one agent's messages."""
        return prunes.version_rows(db, key, agent)

    def remove(self, db: Transaction, key: ScopeKey, ids: Sequence[Any]) -> int:
        """Remove versions by pairs of seq and version."""
        return prunes.delete_versions(db, key, ids)


class OutlivedSummaries:
    """Summaries whose messages are gone by a policy."""

    def rows(self, db: Transaction, key: ScopeKey, agent: str | None) -> Rows:
        """The scope's summaries of that kind; they are no agent's."""
        return prunes.summary_rows(db, key)

    def remove(self, db: Transaction, key: ScopeKey, ids: Sequence[Any]) -> int:
        """Remove summaries by their ids."""
        return prunes.delete_summaries(db, key, ids)
