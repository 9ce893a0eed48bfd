"""SQL of the embedding stratum: vectors as bytes, each with its space."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, func, insert, select

from memory_engine.models import Message, ScopeKey, Space
from memory_engine.ports import Vectors
from memory_engine.storage.messages import LAST_SEQ, by_seqs, in_lists, versions_in_recall
from memory_engine.storage.schema import ChatMessage, EmbeddingSpace, MessageEmbedding, MessageTerms

Seqs = NDArray[np.int64]


def pack(vectors: Vectors) -> tuple[bytes, ...]:
    """The stored form of vectors, shape (n, dimension): one text of little-endian float16 each."""
    return tuple(row.tobytes() for row in vectors.astype("<f2"))


def unpack(rows: Sequence[bytes], dimension: int) -> Vectors:
    """The vectors of stored rows, shape (len(rows), dimension).

    A damaged row gives zeros, as a text without any token does; the doctor finds it and makes it again.
    """
    size = 2 * dimension
    if set(map(len, rows)) - {size}:
        rows = [row if len(row) == size else bytes(size) for row in rows]
    vectors = np.frombuffer(b"".join(rows), dtype="<f2").reshape(-1, dimension).astype(np.float32)
    if not np.isfinite(vectors.sum()):
        vectors[~np.isfinite(vectors).all(axis=1)] = 0
    return vectors


def ensure_space(db: Connection, space: Space) -> int:
    """The id of the space in this store, given on first use."""
    find = select(EmbeddingSpace.space_id).where(EmbeddingSpace.name == space.name)
    found = db.execute(find).scalar()
    if found is None:
        db.execute(insert(EmbeddingSpace).values(name=space.name))
        found = db.execute(find).scalar_one()
    return found


def known_dimension(db: Connection, model: str) -> int | None:
    """How long the model's vectors are, where the store has a space of it."""
    name = db.execute(select(EmbeddingSpace.name).where(EmbeddingSpace.name.startswith(f"{model}/"))).scalar()
    return None if name is None else int(name.removeprefix(f"{model}/").split("/")[0])


# A message that waits for its removal keeps its vectors, and they are not read.
_NOT_PRUNED = ~(
    exists()
    .where(ChatMessage.namespace_id == MessageEmbedding.namespace_id)
    .where(ChatMessage.scope_id == MessageEmbedding.scope_id)
    .where(ChatMessage.seq == MessageEmbedding.seq, ChatMessage.pruned_at.is_not(None))
)
_VECTORS_AFTER = (
    select(MessageEmbedding.seq, MessageEmbedding.vector)
    .where(
        MessageEmbedding.namespace_id == bindparam("namespace_id"),
        MessageEmbedding.scope_id == bindparam("scope_id"),
        MessageEmbedding.space_id == bindparam("space_id"),
        MessageEmbedding.seq > bindparam("after"),
        _NOT_PRUNED,
    )
    .order_by(MessageEmbedding.seq, MessageEmbedding.chunk)
    .execution_options(yield_per=5_000)
)


def vectors_after(
    db: Connection, key: ScopeKey, space_id: int, seq: int, limit: int | None = None
) -> tuple[Seqs, list[bytes]]:
    """The vectors of messages after `seq`, in order of (seq, chunk): their seqs, and their bytes."""
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "space_id": space_id, "after": seq}
    query = _VECTORS_AFTER if limit is None else _VECTORS_AFTER.limit(limit)
    seqs, vectors = list[int](), list[bytes]()
    for row in db.execute(query, here):
        seqs.append(row.seq)
        vectors.append(row.vector)
    return np.array(seqs, np.int64), vectors


def vectors_of(db: Connection, key: ScopeKey, space_id: int, seqs: Sequence[int]) -> tuple[Seqs, list[bytes]]:
    """The vectors of these messages, in order of (seq, chunk): their seqs, and their bytes."""
    found: list[tuple[int, bytes]] = []
    for some in in_lists(seqs):
        wanted = MessageEmbedding.seq.in_(some)
        query = select(MessageEmbedding.seq, MessageEmbedding.vector)
        query = query.where(*_current(key, space_id), wanted, _NOT_PRUNED)
        found += [(row.seq, row.vector) for row in db.execute(query)]
    found.sort(key=lambda row: row[0])
    return np.array([seq for seq, _ in found], np.int64), [vector for _, vector in found]


def count_vectors(db: Connection, key: ScopeKey, space_id: int) -> int:
    """How many vectors the scope has in the space."""
    return db.execute(select(func.count()).where(*_current(key, space_id), _NOT_PRUNED)).scalar_one()


def count_vectors_between(
    db: Connection, key: ScopeKey, space_id: int, *, after: int = 0, until: int = LAST_SEQ, most: int | None = None
) -> int:
    """How many vectors messages after `after` and up to `until` have in the space; counted up to `most`."""
    here = (*_current(key, space_id), MessageEmbedding.seq > after, MessageEmbedding.seq <= until, _NOT_PRUNED)
    query = select(MessageEmbedding.seq).where(*here).limit(most)
    return db.execute(select(func.count()).select_from(query.subquery())).scalar_one()


# Built once, because every commit asks them. A scalar subquery, because PostgreSQL makes NOT EXISTS an anti-join, and
# without statistics joins 50,000 fresh rows with 50,000 row by row. The subquery is one index look-up a row.
_VECTOR = (
    select(MessageEmbedding.seq)
    .where(
        MessageEmbedding.namespace_id == bindparam("namespace_id"),
        MessageEmbedding.scope_id == bindparam("scope_id"),
        MessageEmbedding.space_id == bindparam("space_id"),
        MessageEmbedding.seq == MessageTerms.seq,
        MessageEmbedding.version == MessageTerms.version,
    )
    .limit(1)
    .correlate(MessageTerms)
    .scalar_subquery()
)
_LACKING = select(MessageTerms.seq).where(
    MessageTerms.namespace_id == bindparam("namespace_id"),
    MessageTerms.scope_id == bindparam("scope_id"),
    _VECTOR.is_(None),
)
_LACKING_AFTER = (
    _LACKING.where(MessageTerms.seq > bindparam("after"), MessageTerms.seq <= bindparam("until"))
    .order_by(MessageTerms.seq)
    .limit(bindparam("most"))
)
_LACKING_OF = _LACKING.where(MessageTerms.seq.in_(bindparam("seqs", expanding=True)))


def count_lacking(db: Connection, key: ScopeKey, space_id: int) -> int:
    """How many messages have terms, so that recall should find them, and no vector in the space."""
    return db.execute(select(func.count()).select_from(_LACKING.subquery()), _of(key, space_id)).scalar_one()


def lacking(
    db: Connection, key: ScopeKey, space_id: int, *, after: int, until: int | None = None, limit: int
) -> list[Message]:
    """The first messages after `after`, up to `until`, that have terms and no vector in the space."""
    which = {"after": after, "until": LAST_SEQ if until is None else until, "most": limit}
    found = by_seqs(db, key, list(db.execute(_LACKING_AFTER, {**_of(key, space_id), **which}).scalars()))
    return [found[seq] for seq in sorted(found)]


def lacking_seqs(db: Connection, key: ScopeKey, space_id: int, *, after: int, until: int, limit: int) -> list[int]:
    """As `lacking`, the places alone, which can be read whatever is in the messages."""
    which = {"after": after, "until": until, "most": limit}
    return list(db.execute(_LACKING_AFTER, {**_of(key, space_id), **which}).scalars())


def lacking_of(db: Connection, key: ScopeKey, space_id: int, seqs: Sequence[int]) -> list[Message]:
    """Those of these messages that have terms and no vector in the space, in order."""
    lack: list[int] = []
    for some in in_lists(seqs):
        lack += db.execute(_LACKING_OF, {**_of(key, space_id), "seqs": some}).scalars()
    found = by_seqs(db, key, lack) if lack else {}
    return [found[seq] for seq in sorted(found)]


def _of(key: ScopeKey, space_id: int) -> dict[str, int]:
    return {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "space_id": space_id}


def insert_vectors(
    db: Connection, key: ScopeKey, space_id: int, rows: Sequence[tuple[Message, tuple[bytes, ...]]]
) -> None:
    """Write the vectors of messages anew, one a chunk; messages that changed or went meanwhile are left out."""
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "space_id": space_id}
    in_force = versions_in_recall(db, key, [message.seq for message, _ in rows], or_pruned=True)
    for message, vectors in rows:
        if in_force.get(message.seq) != message.version:
            continue
        here = {**place, "seq": message.seq, "version": message.version}
        db.execute(delete(MessageEmbedding).where(*_current(key, space_id), MessageEmbedding.seq == message.seq))
        db.execute(insert(MessageEmbedding), [{**here, "chunk": n, "vector": v} for n, v in enumerate(vectors)])


def other_spaces(db: Connection, space_id: int) -> list[str]:
    """The names of the spaces, besides this one, that the store has vectors in."""
    used = select(MessageEmbedding.space_id).where(MessageEmbedding.space_id == EmbeddingSpace.space_id)
    query = select(EmbeddingSpace.name).where(EmbeddingSpace.space_id != space_id, used.exists())
    return list(db.execute(query).scalars())


def _current(key: ScopeKey, space_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        MessageEmbedding.namespace_id == key.namespace_id,
        MessageEmbedding.scope_id == key.scope_id,
        MessageEmbedding.space_id == space_id,
    )
