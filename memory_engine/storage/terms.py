"""SQL of the term ids, from which a scope's lexical index and catalogue are built."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, bindparam, case, delete, insert, select
from sqlalchemy.exc import DBAPIError

from memory_engine.checks import MAX_TEXT_BYTES
from memory_engine.models import Message, ScopeKey
from memory_engine.storage.database import is_of_row, readable_rows, reading_any_text
from memory_engine.storage.messages import (
    ITS_THREAD,
    NOT_PRUNED,
    NOT_QUARANTINED,
    Derived,
    by_seqs,
    in_lists,
    its_message,
    term_columns,
)
from memory_engine.storage.odd_values import number
from memory_engine.storage.schema import AssistantThread, ChatMessage, MessageTerms

#: Microseconds that are dates.
_FIRST, _LAST = -62_000_000_000_000_000, 253_000_000_000_000_000
#: Words of the longest text that is kept.
_MOST_WORDS = MAX_TEXT_BYTES
#: More branches than a conversation has.
_BRANCHES = 2**24
_CURRENT = its_message(MessageTerms) & (MessageTerms.version == ChatMessage.version)
_HERE = (ChatMessage.namespace_id == bindparam("namespace_id")) & (ChatMessage.scope_id == bindparam("scope_id"))
#: A number that changes with every edit, and when a branch is abandoned or returned to.
_STATE = 2 * ChatMessage.version + case((ChatMessage.inactive_at.is_(None), 0), else_=1)
_READ = (
    select(
        ChatMessage.seq,
        _STATE.label("version"),
        ChatMessage.thread_id,
        ChatMessage.branch,
        ChatMessage.inactive_at.is_(None).label("active"),
        AssistantThread.conversation_id,
        ChatMessage.role,
        ChatMessage.name,
        ChatMessage.agent,
        ChatMessage.created_at,
        MessageTerms.words,
        MessageTerms.asks,
        MessageTerms.terms,
    )
    .join(MessageTerms, _CURRENT)
    .join(AssistantThread, ITS_THREAD)
    .where(_HERE, NOT_PRUNED)
    .order_by(ChatMessage.seq)
)
_READ_AFTER = _READ.where(ChatMessage.seq > bindparam("after")).execution_options(yield_per=5_000)
_VERSIONS = (
    select(ChatMessage.seq, _STATE)
    .join(MessageTerms, _CURRENT)
    .where(_HERE, NOT_PRUNED, ChatMessage.seq <= bindparam("until"))
    .order_by(ChatMessage.seq)
    .execution_options(yield_per=5_000)
)


class TermsRow(NamedTuple):
    """The columns of an indexed message, where one of them was not what its type says."""

    seq: int
    version: int
    thread_id: str
    conversation_id: str
    branch: int
    active: bool
    role: str
    name: str | None
    agent: str | None
    created_at: int
    words: int
    asks: bool
    terms: bytes


def _sane(row: Any) -> Any:
    """The row, or in place of a damaged one a row that keeps its place: one message must not hide its scope."""
    if (
        type(row.created_at) is int
        and _FIRST <= row.created_at <= _LAST
        and type(row.words) is int
        and 0 <= row.words <= _MOST_WORDS
        and type(row.branch) is int
        and 0 <= row.branch < _BRANCHES
        and len(row.terms) % 4 == 0
        and type(row.role) is str
        and isinstance(row.name, str | None)
        and isinstance(row.agent, str | None)
    ):
        return row
    return TermsRow(
        seq=row.seq, version=row.version, thread_id=row.thread_id, conversation_id=row.conversation_id,
        branch=row.branch if type(row.branch) is int and 0 <= row.branch < _BRANCHES else 0, active=bool(row.active),
        role=str(row.role), name=row.name if isinstance(row.name, str) else None,
        agent=row.agent if isinstance(row.agent, str) else None,
        created_at=int(min(_LAST, max(_FIRST, number(row.created_at)))),
        words=int(min(_MOST_WORDS, max(0, number(row.words)))), asks=bool(row.asks),
        terms=row.terms[: len(row.terms) // 4 * 4],
    )  # fmt: skip


def read_after(db: Connection, key: ScopeKey, seq: int) -> Iterator[Row[*tuple[Any, ...]]]:
    """The indexed messages after `seq`, in order.

    Each row has seq, version (a number that changes with every edit, and when its branch is abandoned or returned to),
    thread_id, branch, active, conversation_id, role, name, agent, created_at (microseconds), words, asks, terms.
    """
    try:
        for row in db.execute(_READ_AFTER, {**_place(key), "after": seq}):
            yield _sane(row)
            seq = row.seq
    except DBAPIError as exc:
        if not is_of_row(exc):
            raise
        with reading_any_text(db):
            yield from map(_sane, db.execute(_READ_AFTER, {**_place(key), "after": seq}))


def read_these(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> list[Row[*tuple[Any, ...]]]:
    """As `read_after`, those of these messages that are indexed."""
    found: list[Row[*tuple[Any, ...]]] = []
    for some in in_lists(seqs):
        query = _READ.where(ChatMessage.seq.in_(some))
        found += map(_sane, readable_rows(db, query, _place(key)))
    return found


def versions(db: Connection, key: ScopeKey, until: int) -> NDArray[np.int64]:
    """The places of the indexed messages up to `until`, rising, and their versions as above; shape (2, messages)."""
    rows = db.execute(_VERSIONS, {**_place(key), "until": until})
    return np.fromiter(chain.from_iterable(rows), np.int64).reshape(-1, 2).T


def _place(key: ScopeKey) -> dict[str, int]:
    return {"namespace_id": key.namespace_id, "scope_id": key.scope_id}


def without_terms(db: Connection, key: ScopeKey) -> list[Message]:
    """The messages that recall should find and that have no term row."""
    query = (
        select(ChatMessage.seq)
        .join(AssistantThread, ITS_THREAD)
        .outerjoin(MessageTerms, _CURRENT)
        .where(NOT_QUARANTINED, ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id)
        .where(ChatMessage.recallable, ChatMessage.content != "", MessageTerms.seq.is_(None))
        .order_by(ChatMessage.seq)
    )
    found = by_seqs(db, key, list(db.execute(query).scalars()))
    return [message for message in found.values() if message.text.strip()]


def insert_terms(db: Connection, key: ScopeKey, rows: Sequence[tuple[Message, Derived]]) -> None:
    """Write the rows of these messages anew."""
    for message, derived in rows:
        here = (MessageTerms.namespace_id == key.namespace_id, MessageTerms.scope_id == key.scope_id)
        db.execute(delete(MessageTerms).where(*here, MessageTerms.seq == message.seq))
        columns = {**_place(key), "seq": message.seq, "version": message.version, **term_columns(derived)}
        db.execute(insert(MessageTerms).values(**columns))
