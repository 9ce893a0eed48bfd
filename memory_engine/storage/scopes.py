"""SQL of namespaces and scopes: which integers stand for an application and a person in it."""

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from memory_engine.models import Scope, ScopeKey
from memory_engine.storage.high_water import taken_in
from memory_engine.storage.odd_values import mapping
from memory_engine.storage.schema import (
    AssistantThread,
    ChatMessage,
    MessageChange,
    Namespace,
    NoteRow,
    OutboxRow,
    PatternRow,
    ScopeRow,
    SetAsideRow,
)

#: What is hidden is named so; no client can give a name with it.
_UNNAMEABLE = "\x01"
#: A scope_id that is never given out: who has said nothing yet owns nothing.
NOBODY = 0

# Asked at every recall, so built once: building a statement costs more than SQLite takes to answer it.
_FIND_SCOPE = (
    select(ScopeRow.namespace_id, ScopeRow.scope_id)
    .join(Namespace, Namespace.namespace_id == ScopeRow.namespace_id)
    .where(Namespace.name == bindparam("namespace"), ScopeRow.user_name == bindparam("user"))
)
_MARKS = select(ScopeRow.last_seq, ScopeRow.last_change).where(
    ScopeRow.namespace_id == bindparam("namespace_id"), ScopeRow.scope_id == bindparam("scope_id")
)


_COUNTER = update(ScopeRow).where(
    ScopeRow.namespace_id == bindparam("of_namespace"), ScopeRow.scope_id == bindparam("of_scope")
)
_TAKE_SEQS = _COUNTER.values(last_seq=ScopeRow.last_seq + bindparam("taken")).returning(ScopeRow.last_seq)
_TAKE_CHANGES = _COUNTER.values(last_change=ScopeRow.last_change + bindparam("taken")).returning(ScopeRow.last_change)


def find_scope(db: Connection, scope: Scope) -> ScopeKey | None:
    """The scope's key, or None when nothing was ever said in it."""
    row = db.execute(_FIND_SCOPE, {"namespace": scope.namespace, "user": scope.user or ""}).first()
    return None if row is None else ScopeKey(*row)


def find_namespace(db: Connection, name: str) -> int | None:
    """The namespace's id, or None when nothing was ever said in it."""
    return db.execute(select(Namespace.namespace_id).where(Namespace.name == name)).scalar()


def ensure_scope(db: Connection, scope: Scope, now: int) -> ScopeKey:
    """The scope's key, made on first use; `now` in microseconds."""
    if found := find_scope(db, scope):
        return found
    namespace_id = _ensure_namespace(db, scope.namespace, now)
    # The update locks the namespace's row: of two that come at once, the second finds the first's scope.
    counter = update(Namespace).where(Namespace.namespace_id == namespace_id)
    counter = counter.values(last_scope=Namespace.last_scope + 1)
    scope_id = db.execute(counter.returning(Namespace.last_scope)).scalar_one()
    if found := find_scope(db, scope):
        return found
    row = {"namespace_id": namespace_id, "scope_id": scope_id, "user_name": scope.user or ""}
    db.execute(insert(ScopeRow).values(**row, last_seq=0, created_at=now))
    return ScopeKey(namespace_id, scope_id)


def _ensure_namespace(db: Connection, name: str, now: int) -> int:
    if (found := find_namespace(db, name)) is not None:
        return found
    values = {"name": name, "last_scope": 0, "created_at": now}
    insert_or_leave = _insert_or_leave(db)
    db.execute(insert_or_leave(Namespace).values(**values).on_conflict_do_nothing(index_elements=["name"]))
    return db.execute(select(Namespace.namespace_id).where(Namespace.name == name)).scalar_one()


def take_seqs(db: Connection, key: ScopeKey, count: int, *, of_messages: bool = True) -> int:
    """Take `count` places in the order of the scope, for messages or conversations, and return the first.

    The counter's row stays locked until the transaction ends, so commit order is seq order.
    """
    last: int = db.execute(_TAKE_SEQS, _taking(key, count)).scalar_one()
    if count:
        taken_in(db).note(key, last_seq=last, messages=count if of_messages else 0)
    return last - count + 1


def take_changes(db: Connection, key: ScopeKey, count: int) -> int:
    """As `take_seqs`, for edits and erasures; it locks the scope in the same way."""
    last: int = db.execute(_TAKE_CHANGES, _taking(key, count)).scalar_one()
    if count:
        taken_in(db).note(key, last_change=last)
    return last - count + 1


def _taking(key: ScopeKey, count: int) -> dict[str, int]:
    return {"of_namespace": key.namespace_id, "of_scope": key.scope_id, "taken": count}


def marks(db: Connection, key: ScopeKey) -> tuple[int, int]:
    """The last place that was given out in the scope, and how many edits and erasures there were."""
    row = db.execute(_MARKS, {"namespace_id": key.namespace_id, "scope_id": key.scope_id}).one()
    return row.last_seq, row.last_change


def newest(db: Connection, key: ScopeKey) -> int:
    """The last place that was given out in the scope; 0 where there is no such scope."""
    row = db.execute(_MARKS, {"namespace_id": key.namespace_id, "scope_id": key.scope_id}).first()
    return 0 if row is None else row.last_seq


def of_namespace(db: Connection, name: str) -> list[tuple[str | None, ScopeKey]]:
    """The users of a namespace, each with the scope's key; None is the default user."""
    columns = (ScopeRow.user_name, ScopeRow.namespace_id, ScopeRow.scope_id)
    query = select(*columns).join(Namespace, Namespace.namespace_id == ScopeRow.namespace_id)
    shown = (Namespace.name == name, ~ScopeRow.user_name.startswith(_UNNAMEABLE))
    rows = db.execute(query.where(*shown).order_by(ScopeRow.scope_id))
    return [(user or None, ScopeKey(*key)) for user, *key in rows]


def namespaces(db: Connection) -> list[str]:
    """The names of the namespaces, those that are hidden left out."""
    query = select(Namespace.name).where(~Namespace.name.startswith(_UNNAMEABLE)).order_by(Namespace.namespace_id)
    return list(db.execute(query).scalars())


def all_scopes(db: Connection) -> list[ScopeKey]:
    """Every scope of the store."""
    columns = (ScopeRow.namespace_id, ScopeRow.scope_id)
    return [ScopeKey(*row) for row in db.execute(select(*columns).order_by(*columns))]


def counters(db: Connection) -> dict[ScopeKey, tuple[int, int]]:
    """Every scope's last place and last change."""
    rows = db.execute(select(ScopeRow.namespace_id, ScopeRow.scope_id, ScopeRow.last_seq, ScopeRow.last_change))
    return {ScopeKey(row.namespace_id, row.scope_id): (row.last_seq, row.last_change) for row in rows}


def with_places(db: Connection, least: int) -> list[ScopeKey]:
    """The scopes in which at least so many places were given out."""
    columns = (ScopeRow.namespace_id, ScopeRow.scope_id)
    return [ScopeKey(*row) for row in db.execute(select(*columns).where(ScopeRow.last_seq >= least).order_by(*columns))]


def high_water(db: Connection) -> tuple[int, int | None]:
    """How many places were given out in all scopes, and when the newest message was recorded (microseconds)."""
    places = db.execute(select(func.coalesce(func.sum(ScopeRow.last_seq), 0))).scalar_one()
    return int(places), db.execute(select(func.max(ChatMessage.recorded_at))).scalar()


def hide_scope(db: Connection, key: ScopeKey, receipt_id: str) -> None:
    """Give the scope a name that nobody can ask for; a person who comes back under the old one gets a new scope."""
    db.execute(update(ScopeRow).where(*_is(key)).values(user_name=_UNNAMEABLE + receipt_id))


def hide_namespace(db: Connection, namespace_id: int, receipt_id: str) -> None:
    """Give the namespace a name that nobody can ask for."""
    here = Namespace.namespace_id == namespace_id
    db.execute(update(Namespace).where(here).values(name=_UNNAMEABLE + receipt_id))


def names_in(db: Connection, key: ScopeKey) -> list[str]:
    """What a scope whose messages are gone still says: names of conversations, notes, corrections of patterns."""
    found: list[str] = []
    for column in (AssistantThread.conversation_id, NoteRow.name, NoteRow.content):
        here = (column.class_.namespace_id == key.namespace_id, column.class_.scope_id == key.scope_id)
        found += db.execute(select(column).where(*here)).scalars()
    here = (PatternRow.namespace_id == key.namespace_id, PatternRow.scope_id == key.scope_id)
    details = db.execute(select(PatternRow.detail).where(*here)).scalars()
    return [*found, *(str(value) for detail in details for value in mapping(detail).values())]


def delete_scope(db: Connection, key: ScopeKey) -> dict[str, int]:
    """Remove a scope whose messages are gone; what went, by place.

    A hidden namespace's row stays: its number must never be another's, and it says nothing but its receipt.
    """
    counts = {}
    for place, table in (
        ("conversations", AssistantThread), ("patterns", PatternRow), ("notes", NoteRow),
        ("changes", MessageChange), ("outbox", OutboxRow), ("set_aside", SetAsideRow),
    ):  # fmt: skip
        here = (table.namespace_id == key.namespace_id, table.scope_id == key.scope_id)
        counts[place] = db.execute(delete(table).where(*here)).rowcount
    db.execute(delete(ScopeRow).where(*_is(key)))
    taken_in(db).gone(key)
    return {place: counts[place] for place in ("conversations", "patterns", "notes")}


def _is(key: ScopeKey) -> tuple[ColumnElement[bool], ...]:
    return (ScopeRow.namespace_id == key.namespace_id, ScopeRow.scope_id == key.scope_id)


def _insert_or_leave(db: Connection):  # type: ignore[no-untyped-def]  # two dialects' classes without a common one
    if db.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as dialect_insert
    else:
        from sqlalchemy.dialects.postgresql import insert as dialect_insert  # type: ignore[assignment]
    return dialect_insert
