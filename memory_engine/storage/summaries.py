"""SQL of summaries, of what they rest on, and of which conversations are to be consolidated."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, func, insert, select, text, update

from memory_engine.models import Citation, ScopeKey, Summary, SummarySentence, from_micros
from memory_engine.storage import derivation_queue, schema, set_aside
from memory_engine.storage.derivation_queue import Stage
from memory_engine.storage.messages import ACTIVE, ITS_THREAD, LAST_SEQ, NOT_PRUNED, NOT_QUARANTINED, by_seqs, in_lists
from memory_engine.storage.odd_values import same_whole_number, whole_number
from memory_engine.storage.schema import (
    AssistantThread,
    ChatMessage,
    ConsolidationRow,
    SetAsideRow,
    SummaryCitation,
    SummaryRow,
)
from memory_engine.storage.set_aside import Item
from memory_engine.storage.threads import Thread

#: Messages of a queue row that is to be done at once.
AT_ONCE = 1_000_000
#: A sentence's text, None for a quotation, and what it rests on as (seq, start, end).
SentencePlaces = tuple[str | None, tuple[tuple[int, int, int], ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """A conversation to consolidate, as it stood when it was read."""

    key: ScopeKey
    thread_id: str
    #: None where the row is damaged.
    messages: int | None
    newest_at: int | None


#: Microseconds by which the clocks of processes differ.
_CLOCKS_DIFFER = 300_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSummary:
    """A summary to be written; places are seqs, times microseconds."""

    summary_id: str
    level: str
    first_seq: int
    last_seq: int
    first_at: int
    last_at: int
    made_by: str
    made_at: int
    sentences: tuple[SentencePlaces, ...]


def _summaries() -> Select[*tuple[Any, ...]]:
    return select(*SummaryRow.__table__.columns, AssistantThread.conversation_id).join(
        AssistantThread,
        (AssistantThread.namespace_id == SummaryRow.namespace_id) & (AssistantThread.thread_id == SummaryRow.thread_id),
    )


# The same words in both databases, which SQLAlchemy builds differently for each.
_COUNT_IN = text(
    "INSERT INTO consolidation_queue (namespace_id, scope_id, thread_id, messages, newest_at) "
    "VALUES (:namespace_id, :scope_id, :thread_id, :messages, :now) "
    "ON CONFLICT (namespace_id, thread_id) DO UPDATE "
    # One that is set aside is counted on for as long as it is edited, and the column ends at 2^31.
    "SET messages = CASE WHEN consolidation_queue.messages BETWEEN 0 AND 1000000000 THEN consolidation_queue.messages "
    "ELSE 0 END + excluded.messages, newest_at = excluded.newest_at"
)


def enqueue(db: Connection, key: ScopeKey, thread_ids: Iterable[str], messages: int, now: int) -> None:
    """Note that so many messages came to each of these conversations; `now` in microseconds."""
    row = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "messages": messages, "now": now}
    if rows := [{**row, "thread_id": thread_id} for thread_id in thread_ids]:
        db.execute(_COUNT_IN, rows)


def due(db: Connection, *, quiet_since: int, messages: int, now: int) -> list[Item]:
    """The threads that were silent since `quiet_since` or got so many messages, those that wait longest first.

    Those whose work failed are left out until they are to be tried again, or something comes to them.

    Args:
        db: the transaction.
        quiet_since: microseconds.
        messages: how many.
        now: microseconds.
    """
    ripe = (ConsolidationRow.newest_at <= quiet_since) | (ConsolidationRow.messages >= messages)
    ripe |= ConsolidationRow.newest_at > now + _CLOCKS_DIFFER  # else it would be silent in the far future only
    thread = (
        (AssistantThread.namespace_id == ConsolidationRow.namespace_id)
        & (AssistantThread.thread_id == ConsolidationRow.thread_id)
        & (AssistantThread.scope_id == ConsolidationRow.scope_id)
    )
    query = (
        select(
            ConsolidationRow.namespace_id,
            ConsolidationRow.scope_id,
            ConsolidationRow.thread_id,
            whole_number(ConsolidationRow.messages),
            SetAsideRow.attempts.label("attempts"),
        )
        .join(AssistantThread, thread)
        .outerjoin(SetAsideRow, set_aside.same_item("summaries", ConsolidationRow))
        .where(ripe, set_aside.may_be_tried(now, ConsolidationRow.messages))
        .order_by(ConsolidationRow.newest_at)
    )
    return [
        Item(
            key=ScopeKey(row.namespace_id, row.scope_id), stage="summaries", name=row.thread_id,
            thread_id=row.thread_id, seen=row.messages or 0, has_failed=row.attempts is not None,
        )
        for row in db.execute(query)
    ]  # fmt: skip


def queued(db: Connection, key: ScopeKey, thread_id: str) -> Queued | None:
    """What waits of a thread, or None."""
    here = (ConsolidationRow.namespace_id == key.namespace_id, ConsolidationRow.thread_id == thread_id)
    columns = (whole_number(ConsolidationRow.messages), whole_number(ConsolidationRow.newest_at))
    row = db.execute(select(*columns).where(*here)).first()
    return row and Queued(key=key, thread_id=thread_id, messages=row.messages, newest_at=row.newest_at)


def oldest_waiting(db: Connection) -> int | None:
    """When the conversation that waits longest was last spoken in (microseconds), or None when none waits."""
    return db.execute(select(func.min(ConsolidationRow.newest_at))).scalar()


def take_from_queue(db: Connection, queued: Queued) -> bool:
    """Take the conversation from the queue, where it stays if something came to it since it was read.

    Returns:
        Whether it was in the queue still; if not, somebody else took it.
    """
    here = (
        ConsolidationRow.namespace_id == queued.key.namespace_id,
        ConsolidationRow.thread_id == queued.thread_id,
    )
    as_read = (
        same_whole_number(ConsolidationRow.messages, queued.messages),
        same_whole_number(ConsolidationRow.newest_at, queued.newest_at),
    )
    taken = db.execute(delete(ConsolidationRow).where(*here, *as_read)).rowcount == 1
    return taken or db.execute(select(ConsolidationRow.thread_id).where(*here)).first() is not None


def open_segment(db: Connection, queued: Queued) -> int:
    """The place at which the conversation's last segment begins; 0 when it has none yet."""
    segments = (SummaryRow.level == "segment", SummaryRow.outlived_at.is_(None))
    said = (ChatMessage.namespace_id == queued.key.namespace_id, ChatMessage.thread_id == queued.thread_id)
    newest = select(func.max(ChatMessage.seq)).where(*said).scalar_subquery()
    # One that begins after the newest message is damaged.
    query = select(func.max(SummaryRow.first_seq)).where(*_of_thread(queued), *segments, SummaryRow.first_seq <= newest)
    return db.execute(query).scalar() or 0


def seqs_to_sum_up(db: Connection, key: ScopeKey, thread_id: str, first: int, last: int | None = None) -> list[int]:
    """The places of what people and assistants said in the conversation from `first` to `last`, in order."""
    query = (
        select(ChatMessage.seq)
        .join(AssistantThread, ITS_THREAD)
        .where(
            ChatMessage.namespace_id == key.namespace_id,
            ChatMessage.thread_id == thread_id,
            NOT_QUARANTINED,
            NOT_PRUNED,
            ACTIVE,
            ChatMessage.seq.between(first, LAST_SEQ if last is None else last),
            ChatMessage.recallable,
            ChatMessage.role.in_(("user", "assistant")),
            ChatMessage.content != "",
        )
    )
    return list(db.execute(query.order_by(ChatMessage.seq)).scalars())


def replace_from(
    db: Connection, queued: Queued, first: int, made: Sequence[NewSummary], stages: Sequence[Stage]
) -> None:
    """Put these summaries in place of the conversation's own and of those of its segments from `first` on.

    Then the conversation waits for the further stages.
    """
    later = (SummaryRow.level == "segment") & (SummaryRow.first_seq >= first) & SummaryRow.outlived_at.is_(None)
    stale = (SummaryRow.level == "conversation") | later
    db.execute(delete(SummaryRow).where(*_of_thread(queued), stale))
    for new in made:
        _insert(db, queued.key, queued.thread_id, new)
    for stage in stages:
        derivation_queue.enqueue(db, queued.key, queued.thread_id, stage, first)


def replace_group(db: Connection, key: ScopeKey, thread_id: str, made: NewSummary | None) -> None:
    """Put this summary in place of that of the group around a conversation; None for no group."""
    here = (SummaryRow.namespace_id == key.namespace_id, SummaryRow.thread_id == thread_id)
    db.execute(delete(SummaryRow).where(*here, SummaryRow.level == "group"))
    if made is not None:
        _insert(db, key, thread_id, made)


def reword(db: Connection, key: ScopeKey, old: Summary, made_by: str, sentences: Sequence[SentencePlaces]) -> bool:
    """Put other sentences into a summary that was not made anew since it was read; False when it was."""
    here = {"namespace_id": key.namespace_id, "summary_id": old.summary_id}
    is_it = (SummaryRow.namespace_id == key.namespace_id, SummaryRow.summary_id == old.summary_id)
    unchanged = (SummaryRow.made_by == old.made_by, SummaryRow.last_seq == old.last_seq)
    if db.execute(update(SummaryRow).where(*is_it, *unchanged).values(made_by=made_by)).rowcount == 0:
        return False
    of_it = (
        schema.SummarySentence.namespace_id == key.namespace_id,
        schema.SummarySentence.summary_id == old.summary_id,
    )
    db.execute(delete(schema.SummarySentence).where(*of_it))
    _insert_sentences(db, key, here, sentences)
    return True


def _insert(db: Connection, key: ScopeKey, thread_id: str, new: NewSummary) -> None:
    here = {"namespace_id": key.namespace_id, "summary_id": new.summary_id}
    columns = ("level", "first_seq", "last_seq", "first_at", "last_at", "made_by", "made_at")
    row = {name: getattr(new, name) for name in columns}
    db.execute(insert(SummaryRow).values(**here, scope_id=key.scope_id, thread_id=thread_id, **row))
    _insert_sentences(db, key, here, new.sentences)


def _insert_sentences(db: Connection, key: ScopeKey, here: dict[str, Any], made: Sequence[SentencePlaces]) -> None:
    sentences = [{**here, "position": n, "text": text} for n, (text, _) in enumerate(made)]
    citations = [
        {**here, "scope_id": key.scope_id, "position": n, "seq": seq, "start": start, "end": end}
        for n, (_, cited) in enumerate(made)
        for seq, start, end in cited
    ]
    if sentences:
        db.execute(insert(schema.SummarySentence), sentences)
        db.execute(insert(SummaryCitation), citations)


def quoted_by_segments(db: Connection, queued: Queued, before: int) -> list[tuple[int, int, int]]:
    """What the summaries of the segments that begin before `before` rest on, as (seq, start, end), in order."""
    segments = (SummaryRow.level == "segment", SummaryRow.first_seq < before)
    return _cited(db, queued.key.namespace_id, *_of_thread(queued), *segments)


def quoted_by_whole(db: Connection, key: ScopeKey, thread_ids: Sequence[str]) -> list[tuple[int, int, int]]:
    """What the summaries of these conversations as a whole rest on, as (seq, start, end), in order."""
    here = (SummaryRow.namespace_id == key.namespace_id, SummaryRow.thread_id.in_(thread_ids))
    return _cited(db, key.namespace_id, *here, SummaryRow.level == "conversation")


def _cited(db: Connection, namespace_id: int, *which: ColumnElement[bool]) -> list[tuple[int, int, int]]:
    # Two steps: joined, a database without statistics reads every citation there is.
    ids = db.execute(select(SummaryRow.summary_id).where(*which)).scalars().all()
    found: list[tuple[int, int, int]] = []
    for some in in_lists(ids):
        query = select(SummaryCitation.seq, SummaryCitation.start, SummaryCitation.end).where(
            SummaryCitation.namespace_id == namespace_id,
            SummaryCitation.summary_id.in_(some),
        )
        found += [(row.seq, row.start, row.end) for row in db.execute(query)]
    return sorted(found)


# Built once, because every edit, erasure and piece of a pruning asks them.
_SEQS: Any = bindparam("seqs", expanding=True)
_IDS: Any = bindparam("ids", expanding=True)
_CITING = (
    select(SummaryCitation.summary_id)
    .where(SummaryCitation.namespace_id == bindparam("namespace_id"), SummaryCitation.scope_id == bindparam("scope_id"))
    .where(SummaryCitation.seq.in_(_SEQS))
    .distinct()
)
_THREADS_OF = select(ChatMessage.thread_id, ChatMessage.seq).where(
    ChatMessage.namespace_id == bindparam("namespace_id"),
    ChatMessage.scope_id == bindparam("scope_id"),
    ChatMessage.seq.in_(_SEQS),
)
_HERE = SummaryRow.namespace_id == bindparam("namespace_id")
_OF_THREAD = _HERE & (SummaryRow.thread_id == bindparam("thread_id"))
_IS_GROUP = (SummaryRow.level == "group") & SummaryRow.outlived_at.is_(None)
_REMOVE_OUTLIVED = delete(SummaryRow).where(_HERE, SummaryRow.summary_id.in_(_IDS), SummaryRow.outlived_at.is_not(None))
_GROUPS_OF = select(SummaryRow.thread_id).where(_HERE, SummaryRow.summary_id.in_(_IDS), _IS_GROUP)
_REMOVE_GROUP = delete(SummaryRow).where(_OF_THREAD, _IS_GROUP)
_REMOVE_RESTING = delete(SummaryRow).where(
    _OF_THREAD,
    (SummaryRow.level != "segment") | (SummaryRow.last_seq >= bindparam("first_seq")),
    SummaryRow.outlived_at.is_(None),
)


def retract(db: Connection, key: ScopeKey, seqs: Sequence[int], now: int) -> None:
    """Remove the summaries that rest on these messages, or could have, and queue their conversations."""
    citing = _citing(db, key, seqs)
    for some in in_lists(citing):
        db.execute(_REMOVE_OUTLIVED, {"namespace_id": key.namespace_id, "ids": some})
    _redo(db, key, seqs, citing, now)


def redo(db: Connection, key: ScopeKey, seqs: Sequence[int], now: int) -> None:
    """As `retract`, but that what has outlived its messages stays, because it cannot be made anew."""
    _redo(db, key, seqs, _citing(db, key, seqs), now)


def _redo(db: Connection, key: ScopeKey, seqs: Sequence[int], citing: Sequence[str], now: int) -> None:
    of_namespace = {"namespace_id": key.namespace_id}
    here = {**of_namespace, "scope_id": key.scope_id}
    # Groups quote other conversations than the one that they are around.
    groups = [db.execute(_GROUPS_OF, {**of_namespace, "ids": some}).scalars().all() for some in in_lists(citing)]
    for thread_id in chain.from_iterable(groups):
        db.execute(_REMOVE_GROUP, {**of_namespace, "thread_id": thread_id})
        derivation_queue.enqueue(db, key, thread_id, "group")
    first: dict[str, int] = {}
    for some in in_lists(seqs):
        # Grouped here: to group, SQLite would read every message of the namespace in the order of threads.
        for row in db.execute(_THREADS_OF, {**here, "seqs": some}):
            first[row.thread_id] = min(row.seq, first.get(row.thread_id, row.seq))
    if first:
        of_each = [{**of_namespace, "thread_id": thread_id, "first_seq": seq} for thread_id, seq in first.items()]
        db.execute(_REMOVE_RESTING, of_each)
    enqueue(db, key, first, AT_ONCE, now)


def _citing(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> list[str]:
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    found = [db.execute(_CITING, {**here, "seqs": some}).scalars() for some in in_lists(seqs)]
    return list(dict.fromkeys(chain.from_iterable(found)))


def of_conversation(db: Connection, thread: Thread) -> list[Summary]:
    """The summaries of a conversation: its own, that of the group around it, those of its segments in order."""
    query = _summaries().where(
        SummaryRow.namespace_id == thread.key.namespace_id, SummaryRow.thread_id == thread.thread_id
    )
    rows = db.execute(query.order_by(SummaryRow.level, SummaryRow.first_seq)).all()
    return _read(db, thread.key, rows)


# Asked in every turn.
_OF_WHOLE = _summaries().where(
    SummaryRow.namespace_id == bindparam("namespace_id"),
    SummaryRow.thread_id == bindparam("thread_id"),
    SummaryRow.level == "conversation",
)


def of_whole(db: Connection, thread: Thread) -> Summary | None:
    """The summary of a conversation as a whole, or None before it was consolidated."""
    here = {"namespace_id": thread.key.namespace_id, "thread_id": thread.thread_id}
    rows = db.execute(_OF_WHOLE, here).all()
    return next(iter(_read(db, thread.key, rows)), None) if rows else None


_OF_SEGMENTS_WITH = (
    _summaries()
    .join(
        ChatMessage,
        (ChatMessage.namespace_id == SummaryRow.namespace_id)
        & (ChatMessage.thread_id == SummaryRow.thread_id)
        & ChatMessage.seq.between(SummaryRow.first_seq, SummaryRow.last_seq),
    )
    .where(ChatMessage.namespace_id == bindparam("namespace_id"), ChatMessage.scope_id == bindparam("scope_id"))
    .where(ChatMessage.seq.in_(_SEQS), SummaryRow.level == "segment")
    .distinct()
)


def of_segments_with(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> list[Summary]:
    """The summaries of the segments in which these messages stand."""
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    rows = db.execute(_OF_SEGMENTS_WITH, {**here, "seqs": list(seqs)}).all()
    return _read(db, key, rows)


def count(db: Connection, namespace_id: int) -> int:
    """How many summaries the namespace has."""
    return db.execute(select(func.count()).where(SummaryRow.namespace_id == namespace_id)).scalar_one()


def _of_thread(queued: Queued) -> tuple[ColumnElement[bool], ...]:
    return (SummaryRow.namespace_id == queued.key.namespace_id, SummaryRow.thread_id == queued.thread_id)


_SENTENCES = (
    select(schema.SummarySentence)
    .where(schema.SummarySentence.namespace_id == bindparam("namespace_id"))
    .where(schema.SummarySentence.summary_id.in_(_IDS))
    .order_by(schema.SummarySentence.position)
)
_CITATIONS = (
    select(SummaryCitation)
    .where(SummaryCitation.namespace_id == bindparam("namespace_id"), SummaryCitation.summary_id.in_(_IDS))
    .order_by(SummaryCitation.seq, SummaryCitation.start)
)


def _read(db: Connection, key: ScopeKey, rows: Sequence[Any]) -> list[Summary]:
    ids = [row.summary_id for row in rows]
    texts: dict[tuple[str, int], str | None] = {}
    citations: dict[tuple[str, int], list[tuple[int, int, int]]] = defaultdict(list)
    for some in in_lists(ids):
        these = {"namespace_id": key.namespace_id, "ids": some}
        for row in db.execute(_SENTENCES, these):
            texts[row.summary_id, row.position] = row.text
        for cited in db.execute(_CITATIONS, these):
            citations[cited.summary_id, cited.position].append((cited.seq, cited.start, cited.end))
    said = by_seqs(db, key, sorted({seq for places in citations.values() for seq, _, _ in places}))
    sentences: dict[str, list[SummarySentence]] = defaultdict(list)
    for (summary_id, position), words in texts.items():
        spans = [(said[seq], start, end) for seq, start, end in citations[summary_id, position]]
        quoted = " ".join(message.text[start:end] for message, start, end in spans)
        rests_on = tuple(Citation(message_id=m.message_id, start=start, end=end) for m, start, end in spans)
        sentences[summary_id].append(SummarySentence(text=quoted if words is None else words, citations=rests_on))
    return [
        Summary(
            summary_id=row.summary_id,
            level=row.level,
            conversation_id=row.conversation_id,
            thread_id=row.thread_id,
            first_seq=row.first_seq,
            last_seq=row.last_seq,
            first_at=from_micros(row.first_at),
            last_at=from_micros(row.last_at),
            made_by=row.made_by,
            sentences=tuple(sentences[row.summary_id]),
            rests_on_pruned=row.outlived_at is not None,
        )
        for row in rows
        if row.summary_id in sentences  # a segment in which nothing can be quoted has no words
    ]
