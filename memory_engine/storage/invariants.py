"""SQL of what has to hold between rows and no key enforces: how rows that break it are found, and mended."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, or_, select, text, update

from memory_engine.checks import MAX_TEXT_BYTES
from memory_engine.models import ScopeKey
from memory_engine.storage import derivation_queue, links, patterns, summaries
from memory_engine.storage.database import readable_rows
from memory_engine.storage.schema import (
    AssistantThread,
    ChatMessage,
    ConsolidationRow,
    DerivationRow,
    LinkRow,
    MessageChange,
    MessageEmbedding,
    MessageTerms,
    Namespace,
    NoteMessage,
    NoteRow,
    OutboxRow,
    PatternMessage,
    PatternRow,
    ScopeRow,
    SummaryCitation,
    SummaryRow,
    SummarySentence,
)

#: Mends these rows within a transaction; the number is the time in microseconds.
Mend = Callable[[Connection, Sequence[Any], int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Something that has to hold of rows."""

    name: str
    #: What is so when no row breaks it, and what is said of those that do.
    holds: str
    wrong: str
    #: The rows that break it.
    query: Select[*tuple[Any, ...]]
    #: None where it takes a person.
    mend: Mend | None = None
    advice: str = "`memory-engine doctor --repair` mends it."


_LOST_TRUTH = "What was said is itself in disorder: restore a backup, and tell who keeps the program."


def _same(one: Any, other: Any, *columns: str) -> ColumnElement[bool]:
    return and_(*(getattr(one, name) == getattr(other, name) for name in columns))


#: Words of the longest text that is kept.
_MOST_WORDS = MAX_TEXT_BYTES
_IN_SCOPE = ("namespace_id", "scope_id")
_IN_ORDER = (*_IN_SCOPE, "seq")
_OF_THREAD = ("namespace_id", "thread_id")
_OF_NOTE = (*_IN_SCOPE, "name", "version")


def stale_derived(space_id: int, dimension: int) -> list[Rule]:
    """What is derived from a message is of its present version, and vectors have the length of their space."""
    return [
        _stale("terms", MessageTerms),
        _stale("vectors", MessageEmbedding),
        Rule(
            name="space",
            holds=f"every vector has {dimension} numbers",
            wrong=f"vectors do not have {dimension} numbers",
            query=_versions_of(MessageEmbedding).where(
                MessageEmbedding.space_id == space_id, func.length(MessageEmbedding.vector) != 2 * dimension
            ),
            mend=_delete_of_messages(MessageEmbedding),
        ),
        Rule(
            name="terms",
            holds="every message's terms are whole",
            wrong="messages have terms that are not whole",
            query=_versions_of(MessageTerms).where(
                or_(func.length(MessageTerms.terms) % 4 != 0, MessageTerms.words < 0, MessageTerms.words > _MOST_WORDS)
            ),
            mend=_delete_of_messages(MessageTerms),
        ),
    ]


def _stale(what: str, table: type[MessageTerms] | type[MessageEmbedding]) -> Rule:
    message = and_(_same(ChatMessage, table, *_IN_ORDER), ChatMessage.version == table.version, ChatMessage.recallable)
    return Rule(
        name=f"{what}-versions",
        holds=f"all {what} are of their message's present version",
        wrong=f"{what} are of an old version of their message, or of one that recall leaves out",
        query=_versions_of(table).where(~exists().where(message)),
        mend=_delete_of_messages(table),
    )


def _versions_of(table: Any) -> Select[*tuple[Any, ...]]:
    return select(table.namespace_id, table.scope_id, table.seq, table.version)


def _delete_of_messages(table: Any) -> Mend:
    def mend(db: Connection, rows: Sequence[Any], _now: int) -> None:
        for row in rows:
            here = (table.namespace_id == row.namespace_id, table.scope_id == row.scope_id, table.seq == row.seq)
            db.execute(delete(table).where(*here, table.version == row.version))

    return mend


def _by_scope(rows: Sequence[Any]) -> dict[ScopeKey, list[int]]:
    found: dict[ScopeKey, list[int]] = defaultdict(list)
    for row in rows:
        found[ScopeKey(row.namespace_id, row.scope_id)].append(row.seq)
    return found


def _outside(table: Any) -> Select[*tuple[Any, ...]]:
    """Spans that do not lie within the text of their message."""
    message = and_(_same(ChatMessage, table, *_IN_ORDER), table.start >= 0, table.start <= table.end)
    within = exists().where(message, table.end <= func.length(ChatMessage.content))
    return select(table.namespace_id, table.scope_id, table.seq).where(~within)


def _retract_summaries(db: Connection, rows: Sequence[Any], now: int) -> None:
    for key, seqs in _by_scope(rows).items():
        summaries.retract(db, key, seqs, now)


def _retract_patterns(db: Connection, rows: Sequence[Any], _now: int) -> None:
    for key, seqs in _by_scope(rows).items():
        patterns.retract(db, key, seqs, stay=True)


def _redo_summaries(db: Connection, rows: Sequence[Any], now: int) -> None:
    for row in rows:
        here = (SummaryRow.namespace_id == row.namespace_id, SummaryRow.thread_id == row.thread_id)
        db.execute(delete(SummaryRow).where(*here))
        summaries.enqueue(db, ScopeKey(row.namespace_id, row.scope_id), [row.thread_id], summaries.AT_ONCE, now)


def _delete_patterns(db: Connection, rows: Sequence[Any], _now: int) -> None:
    for row in rows:
        here = (PatternRow.namespace_id == row.namespace_id, PatternRow.pattern_id == row.pattern_id)
        db.execute(delete(PatternRow).where(*here))


def _delete_notes(db: Connection, rows: Sequence[Any], _now: int) -> None:
    """A note whose message is lost could not be held or erased with it."""
    for row in rows:
        for table in (NoteMessage, NoteRow):
            db.execute(delete(table).where(*(getattr(table, name) == getattr(row, name) for name in _OF_NOTE)))


def _unsupersede(db: Connection, rows: Sequence[Any], _now: int) -> None:
    for row in rows:
        here = (PatternRow.namespace_id == row.namespace_id, PatternRow.pattern_id == row.pattern_id)
        db.execute(update(PatternRow).where(*here).values(superseded_by=None))


def _raise_counter(db: Connection, rows: Sequence[Any], _now: int) -> None:
    for row in rows:
        here = (ScopeRow.namespace_id == row.namespace_id, ScopeRow.scope_id == row.scope_id)
        highest = max(db.execute(_highest(column, row)).scalar() or 0 for column in _PLACES)
        change = db.execute(_highest(MessageChange.change_seq, row)).scalar() or 0
        db.execute(update(ScopeRow).where(*here, ScopeRow.last_seq < highest).values(last_seq=highest))
        db.execute(update(ScopeRow).where(*here, ScopeRow.last_change < change).values(last_change=change))


def _highest(column: Any, row: Any) -> Select[*tuple[Any, ...]]:
    table = column.class_
    return select(func.max(column)).where(table.namespace_id == row.namespace_id, table.scope_id == row.scope_id)


def _raise_scope_counter(db: Connection, rows: Sequence[Any], _now: int) -> None:
    for row in rows:
        highest = select(func.max(ScopeRow.scope_id)).where(ScopeRow.namespace_id == row.namespace_id)
        here = Namespace.namespace_id == row.namespace_id
        db.execute(update(Namespace).where(here).values(last_scope=highest.scalar_subquery()))


def _unqueue(table: Any) -> Mend:
    def mend(db: Connection, rows: Sequence[Any], _now: int) -> None:
        for row in rows:
            db.execute(delete(table).where(table.namespace_id == row.namespace_id, table.thread_id == row.thread_id))

    return mend


def _shorten_outbox(db: Connection, rows: Sequence[Any], _now: int) -> None:
    for row in rows:
        here = (OutboxRow.namespace_id == row.namespace_id, OutboxRow.scope_id == row.scope_id)
        place = (*here, OutboxRow.first_seq == row.first_seq)
        if row.first_seq > row.highest:
            db.execute(delete(OutboxRow).where(*place))
        else:
            db.execute(update(OutboxRow).where(*place).values(last_seq=row.highest))


_PLACES = (ChatMessage.seq, AssistantThread.opened_seq)
_BEHIND = or_(
    *(exists().where(_same(column.class_, ScopeRow, *_IN_SCOPE), column > ScopeRow.last_seq) for column in _PLACES),
    exists().where(_same(MessageChange, ScopeRow, *_IN_SCOPE), MessageChange.change_seq > ScopeRow.last_change),
)


def _astray(table: Any) -> ColumnElement[bool]:
    """Rows whose conversation is not there, or is another scope's."""
    return ~exists().where(_same(AssistantThread, table, *_OF_THREAD), AssistantThread.scope_id == table.scope_id)


def _queue(name: str, table: Any, unknown: ColumnElement[bool] | None = None) -> Rule:
    wrong = _astray(table) if unknown is None else or_(_astray(table), unknown)
    return Rule(
        name=name,
        holds="every conversation that is queued is there",
        wrong="queue rows name conversations that are gone, or stages that there are not",
        query=select(table.namespace_id, table.thread_id).where(wrong),
        mend=_unqueue(table),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        name="conversations",
        holds="every message is of its conversation's scope",
        wrong="messages are of no conversation, or of another scope than theirs",
        query=select(ChatMessage.namespace_id, ChatMessage.scope_id, ChatMessage.seq).where(_astray(ChatMessage)),
        advice=_LOST_TRUTH,
    ),
    Rule(
        name="order",
        holds="no counter is behind what it gave out",
        wrong="scopes have a counter behind their newest message, conversation or change",
        query=select(ScopeRow.namespace_id, ScopeRow.scope_id).where(_BEHIND),
        mend=_raise_counter,
    ),
    Rule(
        name="scopes",
        holds="no namespace's counter is behind its scopes",
        wrong="namespaces have a counter behind their newest scope",
        query=select(Namespace.namespace_id).where(
            exists().where(ScopeRow.namespace_id == Namespace.namespace_id, ScopeRow.scope_id > Namespace.last_scope)
        ),
        mend=_raise_scope_counter,
    ),
    Rule(
        name="citations",
        holds="every summary's citation lies within its message",
        wrong="citations of summaries lie outside of their message's text",
        query=_outside(SummaryCitation),
        mend=_retract_summaries,
    ),
    Rule(
        name="quotations",
        holds="every sentence of a summary rests on a message",
        wrong="sentences of summaries rest on no message",
        query=select(SummaryRow.namespace_id, SummaryRow.scope_id, SummaryRow.thread_id)
        .join(SummarySentence, _same(SummarySentence, SummaryRow, "namespace_id", "summary_id"))
        .where(
            SummaryRow.outlived_at.is_(None),
            ~exists().where(_same(SummaryCitation, SummarySentence, "namespace_id", "summary_id", "position")),
        ),
        mend=_redo_summaries,
    ),
    Rule(
        name="patterns",
        holds="what shows a pattern lies within its message",
        wrong="spans that show a pattern lie outside of their message's text",
        query=_outside(PatternMessage),
        mend=_retract_patterns,
    ),
    Rule(
        name="evidence",
        holds="every pattern is shown by a message",
        wrong="patterns are shown by no message",
        query=select(PatternRow.namespace_id, PatternRow.pattern_id).where(
            PatternRow.state.in_(("learned", "proposed")),  # what a person said of one is kept
            ~exists().where(_same(PatternMessage, PatternRow, "namespace_id", "pattern_id")),
        ),
        mend=_delete_patterns,
    ),
    Rule(
        name="note-sources",
        holds="every message that a note was made of is there",
        wrong="notes were made of messages that are gone",
        query=select(*(getattr(NoteMessage, name) for name in _OF_NOTE)).where(
            or_(
                ~exists().where(_same(ChatMessage, NoteMessage, *_IN_ORDER)),
                ~exists().where(_same(NoteRow, NoteMessage, *_OF_NOTE)),
            )
        ),
        mend=_delete_notes,
    ),
    Rule(
        name="superseded",
        holds="every pattern that was superseded has a successor",
        wrong="patterns are superseded by one that is gone",
        query=select(PatternRow.namespace_id, PatternRow.pattern_id).where(
            PatternRow.superseded_by.is_not(None),
            PatternRow.superseded_by.not_in(select(PatternRow.pattern_id)),
        ),
        mend=_unsupersede,
    ),
    _queue("consolidation-queue", ConsolidationRow),
    _queue("derivation-queue", DerivationRow, DerivationRow.stage.not_in(get_args(derivation_queue.Stage))),
    Rule(
        name="outbox-places",
        holds="the outbox names no place beyond the newest",
        wrong="rows of the outbox name places beyond the newest message",
        query=select(
            OutboxRow.namespace_id, OutboxRow.scope_id, OutboxRow.first_seq, ScopeRow.last_seq.label("highest")
        )
        .join(ScopeRow, _same(ScopeRow, OutboxRow, *_IN_SCOPE))
        .where(OutboxRow.last_seq > ScopeRow.last_seq),
        mend=_shorten_outbox,
    ),
)


def count(db: Connection, rule: Rule) -> int:
    """How many rows break the rule."""
    return db.execute(select(func.count()).select_from(rule.query.subquery())).scalar_one()


def breaking(db: Connection, rule: Rule, limit: int) -> list[Any]:
    """Rows that break the rule, as its `mend` takes them."""
    return list(db.execute(rule.query.limit(limit)).all())


def links_after(db: Connection, after: tuple[int, str], limit: int) -> list[Any]:
    """Links in the order of (namespace_id, link_id): namespace_id, scope_id, link_id, their ends and their detail."""
    later = or_(LinkRow.namespace_id > after[0], and_(LinkRow.namespace_id == after[0], LinkRow.link_id > after[1]))
    query = select(LinkRow).where(later).order_by(LinkRow.namespace_id, LinkRow.link_id).limit(limit)
    return readable_rows(db, query)


def threads_of(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> dict[int, str]:
    """The conversation of each of these messages that is there."""
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id)
    query = select(ChatMessage.seq, ChatMessage.thread_id).where(*here, ChatMessage.seq.in_(seqs))
    return {row.seq: row.thread_id for row in db.execute(query)}


def redo_link(db: Connection, row: Any) -> None:
    """Remove a link that a rule made, and queue its source; one of a person stays, without what was to show it."""
    key = ScopeKey(row.namespace_id, row.scope_id)
    if row.state == "made":
        links.remove(db, key, row.link_id)
        derivation_queue.enqueue(db, key, row.source_id, "links")
    else:
        links.remove_evidence(db, key, row.link_id, row.detail)


#: Tables whose rows can be made anew or mean nothing by themselves.
_DERIVED = (
    "message_versions", "message_changes", "message_terms", "message_embeddings", "outbox", "summary_sentences",
    "summary_citations", "summaries", "consolidation_queue", "derivation_queue", "link_messages", "links",
    "pattern_messages", "patterns", "set_aside",
)  # fmt: skip


def dangling(db: Connection) -> list[tuple[str, int]]:
    """Rows of SQLite, as (table, rowid), that refer to rows that are not there; PostgreSQL lets none be."""
    if db.dialect.name != "sqlite":
        return []
    return [(row[0], row[1]) for row in db.execute(text("PRAGMA foreign_key_check")) if row[1] is not None]


def remove_dangling(db: Connection, rows: Sequence[tuple[str, int]]) -> int:
    """Remove those of derived tables, and return how many they were."""
    removed = 0
    for table, rowid in rows:
        if table in _DERIVED:
            removed += db.execute(text(f'DELETE FROM "{table}" WHERE rowid = :rowid'), {"rowid": rowid}).rowcount
    return removed
