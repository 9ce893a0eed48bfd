"""A store in which some conversations are well and others are to be damaged by SQL."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, get_args

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from memory_engine import MemoryEngine, Scope
from memory_engine.errors import StoreError
from memory_engine.storage import derivation_queue, scopes
from memory_engine.storage.derivation_queue import Stage
from tests.fakes import FixedClock

#: Texts that are not JSON, or JSON of another shape than a column has.
OF_JSON = (
    "'not json {'",
    "'5'",
    "'\"text\"'",
    "'[null, 3]'",
    '\'["a", "b"]\'',
    "'[{}]'",
    "'{}'",
    '\'[{"type": "function", "function": {"name": "f", "arguments": "{}"}}]\'',
    f"'{'[' * 3000}{']' * 3000}'",
)
#: SQL values of many kinds. Each database refuses some of them in some columns.
NONSENSE = (
    *OF_JSON,
    "-1",
    "2147483647",
    "9223372036854775807",
    "-9223372036854775807",
    "1e300",
    "x'ff00ff'",
    "'\\xff00ff'",
    "CAST(x'c328' AS TEXT)",
    "true",
)
_SAID = (
    "Please call me {name}, and remember that I always book the zeppelin hangar in Friedrichshafen on Fridays.",
    "What does the zeppelin hangar in Friedrichshafen cost for {name}?",
    "As we said about the zeppelin hangar in Friedrichshafen, the deposit of {name} is due.",
)
_CALL = {"id": "call_1", "type": "function", "function": {"name": "book", "arguments": '{"city": "Lyon"}'}}


@dataclass
class Ward:
    """An engine whose background works when the test says so, with conversations that are well and ill."""

    engine: MemoryEngine
    clock: FixedClock
    ill: list[str] = field(default_factory=list)
    well: list[str] = field(default_factory=lambda: ["well", "also-well"])
    threads: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, engine: MemoryEngine, clock: FixedClock, ill: int) -> "Ward":
        """Open the conversations and derive everything once."""
        engine._parts.stop_background()
        ward = cls(engine, clock, [f"ill-{number}" for number in range(ill)])
        for name in (*ward.ill, *ward.well):
            ward.speak(name)
        clock.advance(minutes=2)
        ward.round()
        for name in ward.ill:
            engine.links.add(Scope(), name, "well", "related", 0.9)
        return ward

    def speak(self, name: str) -> None:
        """Say something of every kind, and edit it."""
        said: list[dict[str, Any]] = [{"role": "user", "content": words.format(name=name)} for words in _SAID]
        said += [
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "tool", "content": "done", "tool_call_id": "call_1"},
            {"role": "assistant", "content": f"The hangar is booked for {name}."},
        ]
        kept = self.engine.remember(name, said, agent="pm")
        self.threads[name] = kept.thread_id
        self.engine.edit(kept.message_ids[1], {"content": f"What does the hangar cost for {name} now?"})

    def queue_everything(self) -> None:
        """Have every stage look at every conversation."""
        with self.engine.database.write() as db:
            (key,) = scopes.all_scopes(db)
            for thread_id in self.threads.values():
                for stage in get_args(Stage):
                    derivation_queue.enqueue(db, key, thread_id, stage)

    def round(self) -> None:
        """Do the work of every background thread once."""
        parts = self.engine._parts
        parts.generation.indexer.work()
        parts.consolidate()
        if parts.rewriter is not None:
            parts.rewriter.work()
        parts.prover.work()
        parts.pruner.work()

    def run(self, sql: str) -> int:
        """Run a statement as another program would: on SQLite without its foreign keys; -1 where it is refused."""
        if (file := self.engine.database.file) is not None:
            try:
                with closing(sqlite3.connect(file)) as db, db:
                    return db.execute(sql).rowcount
            except sqlite3.DatabaseError:
                return -1
        try:
            with self.engine.database.write() as db:
                return db.execute(text(sql.replace(":", "\\:"))).rowcount
        except (StoreError, DBAPIError):
            return -1

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        with self.engine.database.read() as db:
            return [tuple(row) for row in db.execute(text(sql))]

    def queued(self) -> dict[str, set[str]]:
        """The conversations that wait, each with the stages."""
        found: dict[str, set[str]] = {}
        names = {thread_id: name for name, thread_id in self.threads.items()}
        rows = self.rows("SELECT thread_id, 'summaries' FROM consolidation_queue")
        for thread_id, stage in [*rows, *self.rows("SELECT thread_id, stage FROM derivation_queue")]:
            if stage in ("summaries", "links", "patterns", "group"):  # no writer is configured
                found.setdefault(names.get(thread_id, str(thread_id)), set()).add(stage)
        return found

    def named(self) -> set[str]:
        """The conversations that `/ready` names."""
        names = {thread_id: name for name, thread_id in self.threads.items()}
        part = self.engine.parts().get("background")
        return set() if part is None else {names[item.thread_id] for item in part.items if item.thread_id in names}

    def wait(self, rounds: int = 2) -> Iterator[None]:
        """Let the time of the attempts after the first pass; yields after each."""
        for _ in range(rounds):
            self.clock.advance(seconds=20)
            self.round()
            yield


def where_ill(table: str, thread_id: str) -> str:
    """The condition for the rows of a table that are of one conversation."""
    seqs = f"SELECT seq FROM chat_messages WHERE thread_id = '{thread_id}'"
    of = {
        "message_terms": f"seq IN ({seqs})",
        "message_embeddings": f"seq IN ({seqs})",
        "message_versions": f"seq IN ({seqs})",
        "message_changes": f"seq IN ({seqs})",
        "outbox": f"first_seq IN ({seqs})",
        "summary_sentences": f"summary_id IN (SELECT summary_id FROM summaries WHERE thread_id = '{thread_id}')",
        "summary_citations": f"seq IN ({seqs})",
        "links": f"source_id = '{thread_id}' OR target_id = '{thread_id}'",
        "link_messages": f"seq IN ({seqs})",
        "patterns": f"pattern_id IN (SELECT pattern_id FROM pattern_messages WHERE seq IN ({seqs}))",
        "pattern_messages": f"seq IN ({seqs})",
    }
    return of.get(table, f"thread_id = '{thread_id}'")


def columns(tables: Sequence[str], but: Sequence[str]) -> list[tuple[str, str]]:
    """The columns of these tables, without some."""
    from memory_engine.storage.schema import Base

    return [
        (name, column.name)
        for name in tables
        for column in Base.metadata.tables[name].columns
        if column.name not in but
    ]
