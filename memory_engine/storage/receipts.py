"""SQL of erasure: receipts, what must not come back, and who quotes what goes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from memory_engine.models import Message, ScopeKey, from_micros
from memory_engine.storage import notes
from memory_engine.storage.messages import in_lists, its_message
from memory_engine.storage.odd_values import mapping, number, pairs
from memory_engine.storage.schema import (
    ChatMessage,
    ErasedName,
    ErasureCanaries,
    ErasureReceipt,
    LinkMessage,
    MessageEmbedding,
    MessageQuote,
    MessageTerms,
    MessageVersion,
    PatternMessage,
    PatternRow,
    SummaryCitation,
    SummaryRow,
    SummarySentence,
    Suppression,
)

#: What is left of a message that quoted an erased one.
REDACTED = "[erased: this repeated a message that was erased]"
#: Hashes that a receipt shows.
_SHOWN = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What was erased, and how far it is proved."""

    receipt_id: str
    #: messages, conversation, user or namespace.
    kind: str
    #: "pending" until a scan of the files found nothing of it any more; then "done".
    state: str
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None
    #: Rows that went, by place.
    counts: Mapping[str, int]
    #: Keyed hashes of namespace, message id and text of the messages that went; the first thousand.
    content_hashes: tuple[str, ...]
    #: Files and bytes that were scanned, and what was found; None before the first scan.
    scan: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A message as it stands, or as it stood before an edit."""

    message_id: str
    text: str
    #: All its texts: this one, and those of its parts, name, metadata and tool calls.
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """A receipt that is still to be proved."""

    receipt_id: str
    owner: str
    kind: str
    #: As they are kept: pairs (namespace_id, scope_id), unless the row is damaged.
    places: object

    @property
    def scopes(self) -> list[ScopeKey]:
        """The scopes in which something went.

        Raises:
            ValueError: the row is damaged.
        """
        found = [ScopeKey(*pair) for pair in pairs(self.places)]
        if not isinstance(self.places, list) or len(found) != len(self.places):
            raise ValueError("The scopes of a receipt cannot be read.")
        return found


def open_receipt(db: Connection, row: dict[str, Any]) -> None:
    """Write a new receipt: receipt_id, owner, kind, requested_by, requested_at, counts, scopes."""
    db.execute(insert(ErasureReceipt).values(state="pending", **row))


def find(db: Connection, owner: str | None, receipt_id: str) -> Receipt | None:
    """The owner's receipt of that id, or None; without an owner, anybody's."""
    row = db.execute(select(ErasureReceipt).where(ErasureReceipt.receipt_id == receipt_id)).first()
    if row is None or owner not in (None, row.owner):
        return None
    hashes = select(Suppression.digest).where(Suppression.receipt_id == receipt_id).order_by(Suppression.digest)
    return Receipt(
        receipt_id=row.receipt_id,
        kind=row.kind,
        state=row.state,
        requested_by=row.requested_by,
        requested_at=from_micros(row.requested_at),
        completed_at=None if row.completed_at is None else from_micros(row.completed_at),
        counts={place: int(number(count)) for place, count in mapping(row.counts).items()},
        content_hashes=tuple(db.execute(hashes.limit(_SHOWN)).scalars()),
        scan=mapping(row.scan) or None,
    )


def add_canaries(db: Connection, receipt_id: str, hashes: bytes) -> None:
    """Note further hashes by which what a receipt stands for is looked for, little-endian uint64."""
    here = ErasureCanaries.receipt_id == receipt_id
    part = db.execute(select(func.count()).select_from(ErasureCanaries).where(here)).scalar_one()
    db.execute(insert(ErasureCanaries).values(receipt_id=receipt_id, part=part, hashes=hashes))


def canaries(db: Connection, receipt_id: str) -> bytes:
    """The hashes by which what a receipt stands for is looked for."""
    query = select(ErasureCanaries.hashes).where(ErasureCanaries.receipt_id == receipt_id)
    return b"".join(db.execute(query).scalars())


def counts(db: Connection, receipt_id: str) -> dict[str, int]:
    """The rows that went so far, by place."""
    query = select(ErasureReceipt.counts).where(ErasureReceipt.receipt_id == receipt_id)
    found = mapping(db.execute(query).scalar_one())
    return {place: int(number(count)) for place, count in found.items()}


def count_pending(db: Connection) -> int:
    """How many receipts are still to be proved."""
    return db.execute(select(func.count()).where(ErasureReceipt.state == "pending")).scalar_one()


def pending(db: Connection) -> list[Pending]:
    """The receipts that are still to be proved, oldest first."""
    rows = db.execute(
        select(ErasureReceipt).where(ErasureReceipt.state == "pending").order_by(ErasureReceipt.requested_at)
    )
    return [
        Pending(
            receipt_id=row.receipt_id,
            owner=row.owner,
            kind=row.kind,
            places=row.scopes,
        )
        for row in rows
    ]


def write(db: Connection, receipt_id: str, **values: Any) -> None:
    """Set columns of a receipt."""
    db.execute(update(ErasureReceipt).where(ErasureReceipt.receipt_id == receipt_id).values(**values))


def suppress(db: Connection, receipt_id: str, digests: Iterable[str]) -> None:
    """Note what must not come back from a backup."""
    _insert_new(db, Suppression, receipt_id, digests)


def note_names(db: Connection, receipt_id: str, digests: Sequence[str]) -> None:
    """Note the ids that were erased; of one that is erased again the newest receipt counts."""
    for some in in_lists(digests):
        db.execute(delete(ErasedName).where(ErasedName.digest.in_(some)))
    _insert_new(db, ErasedName, receipt_id, digests)


def erased_by(db: Connection, digest: str) -> str | None:
    """The receipt of the id with this digest, or None when it was never erased."""
    return db.execute(select(ErasedName.receipt_id).where(ErasedName.digest == digest)).scalar()


def erased_since(db: Connection, digests: Sequence[str], moment: int) -> set[str]:
    """Those of the names, by their digests, that were erased after a moment, in microseconds."""
    found: set[str] = set()
    query = select(ErasedName.digest).join(ErasureReceipt, ErasureReceipt.receipt_id == ErasedName.receipt_id)
    for some in in_lists(digests):
        recent = query.where(ErasedName.digest.in_(some), ErasureReceipt.requested_at > moment)
        found.update(db.execute(recent).scalars())
    return found


def suppressed(db: Connection, digests: Sequence[str]) -> set[str]:
    """Those of the digests that must not come back."""
    found: set[str] = set()
    for some in in_lists(digests):
        found.update(db.execute(select(Suppression.digest).where(Suppression.digest.in_(some))).scalars())
    return found


def _insert_new(
    db: Connection, table: type[Suppression] | type[ErasedName], receipt_id: str, digests: Iterable[str]
) -> None:
    wanted = list(dict.fromkeys(digests))
    for some in in_lists(wanted):
        known = set(db.execute(select(table.digest).where(table.digest.in_(some))).scalars())
        rows = [{"digest": digest, "receipt_id": receipt_id} for digest in some if digest not in known]
        if rows:
            db.execute(insert(table), rows)


def quoting(db: Connection, key: ScopeKey, message_ids: Sequence[str]) -> dict[int, str]:
    """The messages that quote these, and are none of them, by place and in order, with their ids."""
    found: dict[int, str] = {}
    for some in in_lists(message_ids):
        query = select(ChatMessage.seq, ChatMessage.message_id).join(MessageQuote, its_message(MessageQuote))
        query = query.where(*_at(MessageQuote, key), MessageQuote.quoted_id.in_(some))
        found.update((row.seq, row.message_id) for row in db.execute(query))
    gone = set(message_ids)
    return {seq: name for seq, name in sorted(found.items()) if name not in gone}


def redact(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> None:
    """Leave nothing of what these messages said but that it was erased, which nobody recalls."""
    for some in in_lists(seqs):
        db.execute(delete(MessageVersion).where(*_at(MessageVersion, key), MessageVersion.seq.in_(some)))
        db.execute(delete(MessageQuote).where(*_at(MessageQuote, key), MessageQuote.seq.in_(some)))
        db.execute(
            update(ChatMessage)
            .where(*_at(ChatMessage, key), ChatMessage.seq.in_(some))
            .values(content=REDACTED, parts=None, tool_calls=None, recallable=False, version=ChatMessage.version + 1)
        )


def rows_of(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> dict[str, int]:
    """How many rows rest on these messages, by place."""
    counted: dict[str, tuple[Any, Any]] = {
        "versions": (MessageVersion, func.count()),
        "terms": (MessageTerms, func.count()),
        "embeddings": (MessageEmbedding, func.count()),
        "summaries": (SummaryCitation, func.count(SummaryCitation.summary_id.distinct())),
        "links": (LinkMessage, func.count(LinkMessage.link_id.distinct())),
        "patterns": (PatternMessage, func.count(PatternMessage.pattern_id.distinct())),
    }
    found = {"messages": len(seqs), **dict.fromkeys(counted, 0), "notes": notes.resting_on(db, key, seqs).versions}
    for some in in_lists(seqs):
        for name, (table, count) in counted.items():
            query = select(count).where(*_at(table, key), table.seq.in_(some))
            found[name] += db.execute(query).scalar_one()
    return found


def ever_said(db: Connection, key: ScopeKey, messages: Sequence[Message]) -> Iterator[Said]:
    """These messages as they stand, and as they stood before each edit."""
    for message in messages:
        told = (message.metadata, message.parts, message.tool_calls)
        texts = (message.text, message.name or "", *(text for value in told for text in _values(value)))
        yield Said(message_id=message.message_id, text=message.text, texts=texts)
    names = {message.seq: message.message_id for message in messages}
    for row in _rows(db, MessageVersion, key, list(names)):
        texts = (row.content, *_values(row.metadata), *_values(row.parts))
        yield Said(message_id=names[row.seq], text=row.content, texts=texts)


def own_words_of(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> Iterator[str]:
    """What rests on these messages and has words of its own: a model's sentences, corrections of patterns, notes."""
    yield from notes.resting_on(db, key, seqs).words
    for some in in_lists(seqs):
        citing = select(SummaryCitation.summary_id).where(*_at(SummaryCitation, key), SummaryCitation.seq.in_(some))
        of_them = (SummarySentence.namespace_id == key.namespace_id, SummarySentence.summary_id.in_(citing))
        yield from (text for text in db.execute(select(SummarySentence.text).where(*of_them)).scalars() if text)
        showing = select(PatternMessage.pattern_id).where(*_at(PatternMessage, key), PatternMessage.seq.in_(some))
        shown = (*_at(PatternRow, key), PatternRow.pattern_id.in_(showing))
        for detail in db.execute(select(PatternRow.detail).where(*shown)).scalars():
            yield from _values(detail)


def outlived_words_of(db: Connection, key: ScopeKey, thread_id: str | None = None) -> list[str]:
    """The words of summaries that have outlived all their messages, in the scope or in one of its conversations."""
    here = (*_at(SummaryRow, key), *(() if thread_id is None else (SummaryRow.thread_id == thread_id,)))
    same = (SummarySentence.namespace_id == SummaryRow.namespace_id) & (
        SummarySentence.summary_id == SummaryRow.summary_id
    )
    query = select(SummarySentence.text).join(SummaryRow, same).where(*here)
    return [text for text in db.execute(query).scalars() if text]


def derived_of(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> Iterator[bytes]:
    """The beginnings of the stored forms of these messages' words and vectors."""
    for row in _rows(db, MessageTerms, key, seqs):
        yield row.terms[:32]
    for row in _rows(db, MessageEmbedding, key, seqs):
        yield row.vector[:32]


def _rows(db: Connection, table: Any, key: ScopeKey, seqs: Sequence[int]) -> Iterator[Row[*tuple[Any, ...]]]:
    for some in in_lists(seqs):
        yield from db.execute(select(*table.__table__.columns).where(*_at(table, key), table.seq.in_(some)))


def _at(table: Any, key: ScopeKey) -> tuple[Any, Any]:
    return (table.namespace_id == key.namespace_id, table.scope_id == key.scope_id)


def _values(value: Any) -> Iterator[str]:
    """Every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from _values(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _values(inner)
