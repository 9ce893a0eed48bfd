"""SQL of summaries that stay when messages go which they rest on, because a policy says so."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, select, update

from memory_engine.models import ScopeKey
from memory_engine.storage.messages import by_seqs
from memory_engine.storage.schema import SummaryCitation, SummaryRow, SummarySentence


def let_outlive(db: Connection, key: ScopeKey, seqs: Sequence[int], now: int) -> None:
    """Mark the summaries that rest on these messages, so that they are not made anew without them."""
    citing = select(SummaryCitation.summary_id).where(*_citations(key, seqs))
    here = (SummaryRow.namespace_id == key.namespace_id, SummaryRow.outlived_at.is_(None))
    db.execute(update(SummaryRow).where(*here, SummaryRow.summary_id.in_(citing)).values(outlived_at=now))


def come_back(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> None:
    """Take the mark back where these messages are there again and nothing else is gone."""
    citing = select(SummaryCitation.summary_id).where(*_citations(key, seqs))
    of_it = (
        SummarySentence.namespace_id == SummaryRow.namespace_id,
        SummarySentence.summary_id == SummaryRow.summary_id,
    )
    uncited = exists().where(*of_it, ~exists().where(*_of_sentence()))
    here = (SummaryRow.namespace_id == key.namespace_id, SummaryRow.summary_id.in_(citing))
    db.execute(update(SummaryRow).where(*here, ~uncited).values(outlived_at=None))


def settle(db: Connection, key: ScopeKey, seqs: Sequence[int], now: int) -> None:
    """Give the summaries that rest on these messages their words, because the messages go now."""
    let_outlive(db, key, seqs, now)
    columns = (SummaryCitation.summary_id, SummaryCitation.position)
    rows = db.execute(select(*columns).where(*_citations(key, seqs)).distinct()).all()
    for summary_id, position in rows:
        _write_words(db, key, summary_id, position)
    db.execute(delete(SummaryCitation).where(*_citations(key, seqs)))


def _write_words(db: Connection, key: ScopeKey, summary_id: str, position: int) -> None:
    """A quotation gets the words that it quotes as its own."""
    here = (SummaryCitation.namespace_id == key.namespace_id, SummaryCitation.summary_id == summary_id)
    spans = db.execute(
        select(SummaryCitation.seq, SummaryCitation.start, SummaryCitation.end)
        .where(*here, SummaryCitation.position == position)
        .order_by(SummaryCitation.seq, SummaryCitation.start)
    ).all()
    said = by_seqs(db, key, sorted({row.seq for row in spans}))
    words = " ".join(said[row.seq].text[row.start : row.end] for row in spans)
    sentence = (
        SummarySentence.namespace_id == key.namespace_id,
        SummarySentence.summary_id == summary_id,
        SummarySentence.position == position,
    )
    db.execute(update(SummarySentence).where(*sentence, SummarySentence.text.is_(None)).values(text=words))


def _citations(key: ScopeKey, seqs: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    return (
        SummaryCitation.namespace_id == key.namespace_id,
        SummaryCitation.scope_id == key.scope_id,
        SummaryCitation.seq.in_(seqs),
    )


def _of_sentence() -> tuple[Any, ...]:
    return (
        SummaryCitation.namespace_id == SummarySentence.namespace_id,
        SummaryCitation.summary_id == SummarySentence.summary_id,
        SummaryCitation.position == SummarySentence.position,
    )
