"""SQL of summaries that stay when messages go which they rest on, because a policy says so."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, exists, select, update

from memory_engine.models import ScopeKey
from memory_engine.storage.messages import by_seqs, of_these
from memory_engine.storage.schema import SummaryCitation, SummaryRow, SummarySentence

# Built once, because every piece of a pruning asks them.
_CITATIONS = (
    SummaryCitation.namespace_id == bindparam("of_namespace"),
    SummaryCitation.scope_id == bindparam("of_scope"),
    SummaryCitation.seq.in_(bindparam("seqs", expanding=True)),
)
_CITED_IN = select(SummaryCitation.summary_id, SummaryCitation.position).where(*_CITATIONS).distinct()
_REMOVE_CITATIONS = delete(SummaryCitation).where(*_CITATIONS)
_CITING = (
    SummaryRow.namespace_id == bindparam("of_namespace"),
    SummaryRow.summary_id.in_(select(SummaryCitation.summary_id).where(*_CITATIONS)),
)
_LET_OUTLIVE = update(SummaryRow).where(*_CITING, SummaryRow.outlived_at.is_(None)).values(outlived_at=bindparam("now"))
_RESTS_ON = (
    SummaryCitation.namespace_id == SummarySentence.namespace_id,
    SummaryCitation.summary_id == SummarySentence.summary_id,
    SummaryCitation.position == SummarySentence.position,
)
_RESTS_ON_NOTHING = exists().where(
    SummarySentence.namespace_id == SummaryRow.namespace_id,
    SummarySentence.summary_id == SummaryRow.summary_id,
    ~exists().where(*_RESTS_ON),
)
_COME_BACK = update(SummaryRow).where(*_CITING, ~_RESTS_ON_NOTHING).values(outlived_at=None)


def let_outlive(db: Connection, key: ScopeKey, seqs: Sequence[int], now: int) -> None:
    """Mark the summaries that rest on these messages, so that they are not made anew without them."""
    db.execute(_LET_OUTLIVE, {**of_these(key, seqs), "now": now})


def come_back(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> None:
    """Take the mark back where these messages are there again and nothing else is gone."""
    db.execute(_COME_BACK, of_these(key, seqs))


def settle(db: Connection, key: ScopeKey, seqs: Sequence[int], now: int) -> None:
    """Give the summaries that rest on these messages their words, because the messages go now."""
    let_outlive(db, key, seqs, now)
    for summary_id, position in db.execute(_CITED_IN, of_these(key, seqs)).all():
        _write_words(db, key, summary_id, position)
    db.execute(_REMOVE_CITATIONS, of_these(key, seqs))


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
