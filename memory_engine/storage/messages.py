"""SQL of the raw stratum: messages go down once, with all that is derived from them, in one transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Integer, LargeBinary, Row, bindparam, cast, func, insert, select

from memory_engine.errors import MessageNotFound
from memory_engine.models import Message, NewMessage, Page, ScopeKey, from_micros
from memory_engine.storage import branches
from memory_engine.storage.schema import (
    AssistantThread,
    ChatMessage,
    MessageEmbedding,
    MessageQuote,
    MessageTerms,
    MessageVersion,
    NoteMessage,
    PatternMessage,
)
from memory_engine.storage.threads import Thread, held

_Value = TypeVar("_Value")

#: Values in one IN list; both databases take more.
_IN_LIST = 5_000
#: No message stands beyond it.
LAST_SEQ = 2**62


def in_lists(values: Sequence[_Value]) -> Iterator[list[_Value]]:
    """The values in pieces, each as many as an IN list takes."""
    return (list(values[start : start + _IN_LIST]) for start in range(0, len(values), _IN_LIST))


def of_these(key: ScopeKey, seqs: Sequence[int]) -> dict[str, Any]:
    """These messages, as statements name them that are built once and must not use the columns' own names."""
    return {"of_namespace": key.namespace_id, "of_scope": key.scope_id, "seqs": list(seqs)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """What is stored beside a message's text so that recall can find it."""

    #: Words of the text, stop words included.
    words: int
    #: Whether it ends with a question.
    asks: bool
    #: Little-endian uint32 term ids.
    terms: bytes
    #: One little-endian float16 vector a chunk.
    vectors: tuple[bytes, ...]
    space_id: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A message that is ready to go down: validated, analysed, embedded."""

    message_id: str
    message: NewMessage
    #: Microseconds.
    created_at: int
    #: None for what recall is not to find.
    derived: Derived | None


def term_columns(derived: Derived) -> dict[str, Any]:
    """What the row of a message's terms says besides its place."""
    return {"words": derived.words, "asks": derived.asks, "terms": derived.terms}


def derived_rows(
    key: ScopeKey, seq: int, version: int, derived: Derived
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of a message's terms, and those of its vectors."""
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "seq": seq, "version": version}
    vectors = [
        {**place, "space_id": derived.space_id, "chunk": chunk, "vector": vector}
        for chunk, vector in enumerate(derived.vectors)
    ]
    return {**place, **term_columns(derived)}, vectors


# Built once, as everything here that each message or question needs: building a statement costs more than its run.
_INSERT_MESSAGES, _INSERT_TERMS, _INSERT_VECTORS = insert(ChatMessage), insert(MessageTerms), insert(MessageEmbedding)


def insert_entries(
    db: Connection, thread: Thread, first_seq: int, entries: Sequence[Entry], *, recorded_at: int
) -> None:
    """Write messages and their derived rows at the places from `first_seq` on, on the branch at the thread's head."""
    key = {"namespace_id": thread.key.namespace_id, "scope_id": thread.key.scope_id}
    messages, terms, vectors = [], [], []
    for seq, entry in enumerate(entries, first_seq):
        messages.append({**key, "seq": seq, **_columns(entry, thread), "recorded_at": recorded_at})
        if entry.derived is None:
            continue
        of_terms, of_vectors = derived_rows(thread.key, seq, 1, entry.derived)
        terms.append(of_terms)
        vectors += of_vectors
    db.execute(_INSERT_MESSAGES, messages)
    if terms:
        db.execute(_INSERT_TERMS, terms)
    if vectors:
        db.execute(_INSERT_VECTORS, vectors)
    quotes = [
        {**key, "quoted_id": quoted, "seq": seq}
        for seq, entry in enumerate(entries, first_seq)
        for quoted in dict.fromkeys(entry.message.quotes)
    ]
    if quotes:
        db.execute(insert(MessageQuote), quotes)


def _columns(entry: Entry, thread: Thread) -> dict[str, Any]:
    message = entry.message
    return {
        "message_id": entry.message_id,
        "thread_id": thread.thread_id,
        "version": 1,
        "role": message.role,
        "name": message.name,
        "agent": thread.agent,
        "tool_call_id": message.tool_call_id,
        "created_at": entry.created_at,
        "recallable": message.recallable,
        "branch": thread.head,
        "metadata": dict(message.metadata),
        "tool_calls": None if message.tool_calls is None else list(message.tool_calls),
        "parts": None if message.parts is None else list(message.parts),
        "content": message.text,
    }


def its_message(
    table: type[MessageTerms | MessageVersion | MessageQuote | PatternMessage | NoteMessage],
) -> ColumnElement[bool]:
    """The message of a row of a table whose rows belong to one each."""
    return (
        (table.namespace_id == ChatMessage.namespace_id)
        & (table.scope_id == ChatMessage.scope_id)
        & (table.seq == ChatMessage.seq)
    )


#: The thread of a message, and that neither of the two is quarantined.
ITS_THREAD = (AssistantThread.namespace_id == ChatMessage.namespace_id) & (
    AssistantThread.thread_id == ChatMessage.thread_id
)
NOT_QUARANTINED = ChatMessage.quarantined_at.is_(None) & AssistantThread.quarantined_at.is_(None)
#: It does not wait for its removal.
NOT_PRUNED = ChatMessage.pruned_at.is_(None)
#: Its branch is not abandoned.
ACTIVE = ChatMessage.inactive_at.is_(None)
_WITH_CONVERSATION = select(
    *ChatMessage.__table__.columns,
    AssistantThread.conversation_id,
    AssistantThread.quarantined_at.label("thread_quarantined_at"),
    AssistantThread.quarantine_reason.label("thread_quarantine_reason"),
).join(AssistantThread, ITS_THREAD)


def _of_thread(thread: Thread) -> tuple[ColumnElement[bool], ...]:
    # Its scope is not named: a database that orders by it would read all of the scope to find a few of the thread.
    return (ChatMessage.namespace_id == thread.key.namespace_id, ChatMessage.thread_id == thread.thread_id)


def _message(row: Row[*tuple[Any, ...]]) -> Message:
    return Message(
        message_id=row.message_id,
        version=row.version,
        conversation_id=row.conversation_id,
        thread_id=row.thread_id,
        seq=row.seq,
        role=row.role,
        text=row.content,
        parts=None if row.parts is None else tuple(row.parts),
        name=row.name,
        agent=row.agent,
        tool_calls=None if row.tool_calls is None else tuple(row.tool_calls),
        tool_call_id=row.tool_call_id,
        created_at=from_micros(row.created_at),
        recorded_at=from_micros(row.recorded_at),
        metadata=row.metadata,
        recallable=row.recallable,
        quarantine=held(row.quarantined_at, row.quarantine_reason)
        or held(row.thread_quarantined_at, row.thread_quarantine_reason),
        pinned=row.pinned_at is not None,
        pruned=row.pruned_at is not None,
        branch=row.branch,
        active=row.inactive_at is None,
    )


_BY_IDS = _WITH_CONVERSATION.where(
    ChatMessage.namespace_id == bindparam("namespace_id"),
    ChatMessage.message_id.in_(bindparam("ids", expanding=True)),
)


def find_by_ids(db: Connection, namespace_id: int, ids: Sequence[str]) -> dict[str, tuple[ScopeKey, Message]]:
    """Those of the ids that the namespace has, with the scope that each belongs to."""
    found = {}
    for some in in_lists(ids):
        wanted = {"namespace_id": namespace_id, "ids": some}
        for row in db.execute(_BY_IDS, wanted):
            found[row.message_id] = (ScopeKey(row.namespace_id, row.scope_id), _message(row))
    return found


def find_in_scope(db: Connection, key: ScopeKey | None, message_id: str) -> Message | None:
    """The scope's message of that id, or None; another scope's is none of it, nor is one that was pruned."""
    found = {} if key is None else find_by_ids(db, key.namespace_id, [message_id])
    owner, message = found.get(message_id, (None, None))
    return message if owner == key and message is not None and not message.pruned else None


_BY_SEQS = _WITH_CONVERSATION.where(
    ChatMessage.namespace_id == bindparam("namespace_id"),
    ChatMessage.scope_id == bindparam("scope_id"),
    ChatMessage.seq.in_(bindparam("seqs", expanding=True)),
)


def by_seqs(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> dict[int, Message]:
    """The messages at these places of the scope."""
    found = {}
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    for some in in_lists(seqs):
        rows = db.execute(_BY_SEQS, {**here, "seqs": some})
        found.update({row.seq: _message(row) for row in rows})
    return found


def thread_of(db: Connection, key: ScopeKey, seq: int) -> str | None:
    """The conversation of the message at this place, which can be read whatever is in the message."""
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id)
    return db.execute(select(ChatMessage.thread_id).where(*here, ChatMessage.seq == seq)).scalar()


def versions(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> dict[int, int]:
    """The version in force of each of these messages that is there."""
    found: dict[int, int] = {}
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id)
    for some in in_lists(seqs):
        wanted = ChatMessage.seq.in_(some)
        query = select(ChatMessage.seq, ChatMessage.version).where(*here, wanted)
        found.update((row.seq, row.version) for row in db.execute(query))
    return found


# Asked at every recall, so built once.
_IN_RECALL_OR_PRUNED = (
    select(ChatMessage.seq, ChatMessage.version)
    .join(AssistantThread, ITS_THREAD)
    .where(ChatMessage.namespace_id == bindparam("namespace_id"), ChatMessage.scope_id == bindparam("scope_id"))
    .where(ChatMessage.seq.in_(bindparam("seqs", expanding=True)), NOT_QUARANTINED)
)
_IN_RECALL = _IN_RECALL_OR_PRUNED.where(NOT_PRUNED, ACTIVE)


def versions_in_recall(
    db: Connection, key: ScopeKey, seqs: Sequence[int], *, or_pruned: bool = False
) -> dict[int, int]:
    """As `versions`, without what is quarantined, pruned, or on an abandoned branch.

    What is pruned or abandoned keeps its terms and vectors, so that it can come back: with `or_pruned` it is there too.
    """
    query = _IN_RECALL_OR_PRUNED if or_pruned else _IN_RECALL
    found: dict[int, int] = {}
    for some in in_lists(seqs):
        here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "seqs": some}
        found.update((row.seq, row.version) for row in db.execute(query, here))
    return found


#: No time and no place is as late.
_FOR_EVER = 2**62
_OF_ANY_BRANCH = (
    _WITH_CONVERSATION.where(
        ChatMessage.namespace_id == bindparam("namespace_id"),
        ChatMessage.thread_id == bindparam("thread_id"),
        ChatMessage.created_at <= bindparam("until"),
        ChatMessage.seq < bindparam("before_seq"),
    )
    .order_by(ChatMessage.seq.desc())
    .limit(bindparam("most", type_=Integer))
)
_NEWEST_OF_PATH = _OF_ANY_BRANCH.where(NOT_PRUNED)
_NEWEST = _NEWEST_OF_PATH.where(ACTIVE)


def newest(
    db: Connection,
    thread: Thread,
    limit: int,
    *,
    until: int | None = None,
    before_seq: int | None = None,
    spans: Sequence[branches.Span] | None = None,
) -> list[Message]:
    """A conversation's newest messages, oldest of them first.

    Args:
        db: the transaction.
        thread: the conversation.
        limit: how many at most.
        until: only what was said until then (microseconds), inclusive.
        before_seq: only what stands before this place.
        spans: the path of the branch that is read; every live branch unless given.
    """
    here = {"namespace_id": thread.key.namespace_id, "thread_id": thread.thread_id}
    bounds = {
        "until": _FOR_EVER if until is None else until,
        "before_seq": _FOR_EVER if before_seq is None else before_seq,
        "most": limit,
    }
    query = _NEWEST if spans is None else _NEWEST_OF_PATH.where(branches.on_path(spans))
    rows = db.execute(query, {**here, **bounds}).all()
    return [_message(row) for row in reversed(rows)]


def newest_of_all_branches(db: Connection, thread: Thread, limit: int) -> list[Message]:
    """A conversation's newest messages, oldest of them first; abandoned branches and what is pruned too."""
    here = {"namespace_id": thread.key.namespace_id, "thread_id": thread.thread_id}
    bounds = {"until": _FOR_EVER, "before_seq": _FOR_EVER, "most": limit}
    return [_message(row) for row in reversed(db.execute(_OF_ANY_BRANCH, {**here, **bounds}).all())]


def with_parents(db: Connection, key: ScopeKey, found: Sequence[Message]) -> list[Message]:
    """These messages of one scope, each with the message before it on its branch."""
    before = branches.parents(db, key.namespace_id, found)
    return [replace(message, parent_id=before.get(message.seq)) for message in found]


def list_messages(
    db: Connection, thread: Thread, page: Page, *, all_branches: bool = False
) -> tuple[list[Message], bool]:
    """One page of a conversation by `seq`, of its live branches or of all, and whether more follow.

    Raises:
        MessageNotFound: `page.after` is none of the conversation's.
    """
    order = ChatMessage.seq
    query = _WITH_CONVERSATION.where(*_of_thread(thread), NOT_PRUNED)
    query = query if all_branches else query.where(ACTIVE)
    if page.after is not None:
        start = db.execute(select(order).where(*_of_thread(thread), ChatMessage.message_id == page.after)).scalar()
        if start is None:
            raise MessageNotFound(f"There is no message {page.after!r} here.", param="after")
        query = query.where(order > start if page.ascending else order < start)
    query = query.order_by(order if page.ascending else order.desc()).limit(page.limit + 1)
    rows = [_message(row) for row in db.execute(query)]
    return with_parents(db, thread.key, rows[: page.limit]), len(rows) > page.limit


def seqs_of_thread(db: Connection, thread: Thread) -> list[int]:
    """The places of a conversation's messages, in order."""
    return list(db.execute(select(ChatMessage.seq).where(*_of_thread(thread)).order_by(ChatMessage.seq)).scalars())


def first_seqs(db: Connection, key: ScopeKey, limit: int, *, after: int = 0) -> list[int]:
    """The places of the first messages of a scope after one."""
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id, ChatMessage.seq > after)
    return list(db.execute(select(ChatMessage.seq).where(*here).order_by(ChatMessage.seq).limit(limit)).scalars())


def seqs_with_metadata(db: Connection, key: ScopeKey, wanted: dict[str, Any]) -> list[int]:
    """Places of the messages whose metadata has all these entries, in rising order."""
    query = select(ChatMessage.seq, ChatMessage.message_metadata).where(
        ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id
    )
    rows = db.execute(query.order_by(ChatMessage.seq))
    return [seq for seq, metadata in rows if wanted.items() <= metadata.items()]


def count_rows(db: Connection, namespace_id: int) -> dict[str, int]:
    """How many rows and bytes the namespace has in each stratum."""

    def total(value: Any, table: Any) -> int:
        return db.execute(select(value).where(table.namespace_id == namespace_id)).scalar() or 0

    # SQLite before 3.43 has no octet_length, and its length() of a text counts characters.
    size = func.octet_length if db.dialect.name == "postgresql" else _blob_length
    texts = total(func.sum(size(ChatMessage.content)), ChatMessage)
    terms = total(func.sum(func.length(MessageTerms.terms)), MessageTerms)
    vectors = total(func.sum(func.length(MessageEmbedding.vector)), MessageEmbedding)
    return {
        "conversations": total(func.count(), AssistantThread),
        "messages": total(func.count(), ChatMessage),
        "embeddings": total(func.count(), MessageEmbedding),
        "bytes": int(texts) + int(terms) + int(vectors),
    }


def _blob_length(text: Any) -> Any:
    return func.length(cast(text, LargeBinary))
