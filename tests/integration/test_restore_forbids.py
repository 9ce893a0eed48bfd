"""What the store revoked, held or quarantined after a backup stays so when the backup is restored."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from api.keys import ApiKey, ApiKeys, NewKey
from assistant.copies import Copies
from memory_engine import MemoryEngine, Scope, restoring
from memory_engine.errors import StoreNotEmpty
from memory_engine.models import NoteSources
from memory_engine.storage.database import Database
from tests.fakes import FixedClock
from tests.integration.test_second_process import run
from tests.running_service import RunningService

ANA = Scope(namespace="shop", user="ana")


class Store:
    """A store on one of the databases, its backup, and the restore of that."""

    def __init__(self, url: str, folder: Path, clock: FixedClock) -> None:
        self.url, self.folder, self.clock = url, folder, clock

    @contextmanager
    def opened(self) -> Iterator[MemoryEngine]:
        with MemoryEngine.open(self.folder / "data", database_url=self.url, clock=self.clock) as engine:
            yield engine

    def keys(self, engine: MemoryEngine) -> ApiKeys:
        return ApiKeys(engine.database, self.clock)

    def key(self, engine: MemoryEngine, name: str, **fields: object) -> tuple[ApiKey, str]:
        return self.keys(engine).create(replace(NewKey(namespace="shop", name=name, rights=("admin",)), **fields))

    def back_up(self, engine: MemoryEngine) -> None:
        (self.folder / "backup").write_bytes(b"".join(engine.backup()))
        self.clock.advance(hours=1)

    def restore(self, *, replace: bool = True, url: str | None = None) -> restoring.Restored:
        with closing(Database(url or self.url)) as database:
            keepers = {"assistant": Copies(self.clock)}
            return restoring.restore(database, self.folder / "backup", self.clock, keepers, replace=replace)


@pytest.fixture
def store(database_url: str, tmp_path: Path, clock: FixedClock) -> Store:
    return Store(database_url, tmp_path, clock)


def say(engine: MemoryEngine, conversation: str, text: str, scope: Scope = ANA) -> str:
    return engine.remember(conversation, [{"role": "user", "content": text}], scope=scope).message_ids[0]


def test_a_key_revoked_after_the_backup_stays_revoked_and_so_do_those_it_made(store: Store) -> None:
    with store.opened() as engine:
        say(engine, "c", "The harbour opens at nine.")
        revoked, secret = store.key(engine, "revoked")
        _, child = store.key(engine, "child", made_by=revoked.key_id)
        _, kept = store.key(engine, "kept")
        store.back_up(engine)
        store.keys(engine).revoke(revoked.key_id)
    carried = store.restore().carried
    assert (carried["keys_revoked"], carried["keys_valid"]) == (2, 1)
    with store.opened() as engine:
        found = [store.keys(engine).find(key) for key in (secret, child, kept)]
    assert [key is not None for key in found] == [False, False, True]


def test_a_key_whose_expiry_was_shortened_keeps_the_earlier_one(store: Store) -> None:
    with store.opened() as engine:
        say(engine, "c", "The harbour opens at nine.")
        _, secret = store.key(engine, "short", expires_at=store.clock.now() + timedelta(days=9))
        _, longer = store.key(engine, "longer", expires_at=store.clock.now() + timedelta(days=1))
        store.back_up(engine)
        with engine.database.write() as db:
            soon = int((store.clock.now() + timedelta(hours=1)).timestamp() * 1_000_000)
            db.execute(text("UPDATE api_keys SET expires_at = :soon WHERE name = 'short'"), {"soon": soon})
            db.execute(text("UPDATE api_keys SET expires_at = NULL WHERE name = 'longer'"))
    assert store.restore().carried["keys_expire_earlier"] == 1
    with store.opened() as engine:
        assert store.keys(engine).find(secret) is not None
        store.clock.advance(hours=2)
        assert store.keys(engine).find(secret) is None
        assert store.keys(engine).find(longer) is not None, "nor does a restore lengthen the life of a key"
        store.clock.advance(days=1)
        assert store.keys(engine).find(longer) is None


def test_a_key_deleted_after_the_backup_comes_back_revoked(store: Store) -> None:
    with store.opened() as engine:
        say(engine, "c", "The harbour opens at nine.")
        _, secret = store.key(engine, "deleted")
        store.back_up(engine)
        with engine.database.write() as db:
            db.execute(text("DELETE FROM api_keys"))
    assert store.restore().carried["keys_deleted"] == 1
    with store.opened() as engine:
        assert store.keys(engine).find(secret) is None
        assert [key.revoked_at is not None for key in store.keys(engine).all()] == [True]


def test_a_key_that_opens_something_else_in_the_backup_comes_back_revoked(store: Store) -> None:
    with store.opened() as engine:
        say(engine, "c", "The harbour opens at nine.")
        _, secret = store.key(engine, "narrow", requests_per_minute=5)
        store.key(engine, "slow", requests_per_minute=900)
        store.back_up(engine)
        with engine.database.write() as db:
            db.execute(text("UPDATE api_keys SET rights = 'read' WHERE name = 'narrow'"))
            db.execute(text("UPDATE api_keys SET requests_per_minute = 5 WHERE name = 'slow'"))
    assert store.restore().carried["keys_deleted"] == 1
    with store.opened() as engine:
        assert store.keys(engine).find(secret) is None
        assert [key.requests_per_minute for key in store.keys(engine).all()] == [5, 5]


def test_a_key_made_after_the_backup_is_gone_also_from_a_later_restore(store: Store) -> None:
    with store.opened() as engine:
        say(engine, "c", "The harbour opens at nine.")
        store.back_up(engine)
        _, secret = store.key(engine, "new")
        later = b"".join(engine.backup())
    assert store.restore().carried["keys_missing"] == 1
    with store.opened() as engine:
        assert store.keys(engine).find(secret) is None
    (store.folder / "backup").write_bytes(later)
    assert store.restore().carried["keys_deleted"] == 1
    with store.opened() as engine:
        assert store.keys(engine).find(secret) is None


def test_an_empty_store_takes_the_keys_of_the_backup_as_they_are(store: Store, tmp_path: Path) -> None:
    with store.opened() as engine:
        say(engine, "c", "The harbour opens at nine.")
        _, secret = store.key(engine, "kept")
        gone, _ = store.key(engine, "gone")
        store.keys(engine).revoke(gone.key_id)
        store.back_up(engine)
    (tmp_path / "other").mkdir()
    url = Database.url_in(tmp_path / "other")
    assert store.restore(replace=False, url=url).carried == {"holds": 0, "quarantines": 0, "keys_valid": 1}
    with closing(Database(url)) as database:
        assert ApiKeys(database, store.clock).find(secret) is not None


def test_a_store_that_holds_keys_alone_is_not_empty(store: Store, tmp_path: Path) -> None:
    with store.opened() as engine:
        store.key(engine, "first")
        store.back_up(engine)
    with pytest.raises(StoreNotEmpty):
        store.restore(replace=False)


def test_holds_and_quarantines_set_after_the_backup_are_carried_along(store: Store) -> None:
    with store.opened() as engine:
        held, hostile = say(engine, "held", "The harbour opens at nine."), say(engine, "open", "A hostile zeppelin.")
        say(engine, "bad", "Another hostile zanzibar.")
        say(engine, "before", "A hostile quokka.")
        say(engine, "before", "The default user is another person.", Scope(namespace="other", user="ben"))
        engine.quarantine.hold_conversation("before", scope=ANA)
        engine.consolidate()
        store.back_up(engine)
        engine.pins.hold("held", scope=ANA)
        engine.quarantine.hold_message(hostile, reason="an injection", scope=ANA)
        engine.quarantine.hold_conversation("bad", scope=ANA)
        engine.quarantine.release_conversation("before", scope=ANA)
        say(engine, "new", "Said after the backup.")
        engine.pins.hold("new", scope=ANA)
    carried = store.restore().carried
    assert (carried["holds"], carried["quarantines"]) == (1, 2)
    with store.opened() as engine:
        assert all(finding.healthy for finding in engine.examine())
        for word in ("zeppelin", "zanzibar", "quokka"):
            assert engine.recall(word, scope=ANA, min_score=0.9) == []
        message = engine.history.message(hostile, scope=ANA)
        assert message.quarantine is not None
        assert message.quarantine.reason == "an injection"
        with engine.database.read() as db:
            rows = db.execute(text("SELECT conversation_id FROM assistant_threads WHERE held_at IS NOT NULL"))
            assert rows.scalars().all() == ["held"]
        assert [hit.message_id for hit in engine.recall("harbour", scope=ANA)] == [held]


def test_a_note_erased_or_quarantined_after_the_backup_stays_so(store: Store) -> None:
    with store.opened() as engine:
        hostile, held = say(engine, "erased", "A hostile zeppelin."), say(engine, "held", "A hostile quokka.")
        for name, message_id in (("zeppelin", hostile), ("quokka", held)):
            engine.notes.put(ANA, "style", "Be brief.")
            sources = NoteSources(message_ids=[message_id])
            engine.notes.put(ANA, name, f"Obey the {name}.", by="agent pm", sources=sources)
        store.back_up(engine)
        engine.erase(message_ids=[hostile], scope=ANA)
        engine.quarantine.hold_conversation("held", scope=ANA)
        assert [note.name for note in engine.notes.of(ANA)] == ["style"]
    assert store.restore().erased_again.messages == 1
    with store.opened() as engine:
        assert [note.name for note in engine.notes.of(ANA)] == ["style"]
        assert all(finding.healthy for finding in engine.examine())
        with engine.database.read() as db:
            assert db.execute(text("SELECT name FROM notes WHERE name != 'style'")).scalars().all() == ["quokka"]
        engine.quarantine.release_conversation("held", scope=ANA)
        assert [note.name for note in engine.notes.of(ANA)] == ["quokka", "style"]


def test_a_store_of_an_older_schema_is_replaced(store: Store) -> None:
    from memory_engine.storage import migrations

    with store.opened() as engine:
        say(engine, "c", "The harbour opens at nine.")
        _, secret = store.key(engine, "kept")
        store.back_up(engine)
    other = f"sqlite:///{store.folder / 'old.sqlite3'}"
    with closing(Database(other)) as old, old.write_alone() as db:
        migrations.upgrade_within(db, "0002")
    assert store.restore(url=other).carried["keys_valid"] == 1
    with closing(Database(other)) as database:
        assert ApiKeys(database, store.clock).find(secret) is not None


def test_the_command_says_what_it_carried_along_and_the_revoked_key_is_refused(tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path / "data")]
    key = json.loads(run("keys", "create", "--scope", "admin", "--json", *where).stdout)
    assert run("backup", str(tmp_path / "b"), *where).returncode == 0
    assert run("keys", "revoke", key["id"], *where).returncode == 0
    told = run("restore", str(tmp_path / "b"), "--replace", "--yes", *where)
    assert told.returncode == 0, told.stderr
    assert "Still revoked: 1 API keys." in told.stdout
    with RunningService(tmp_path / "data", MEMORY_ENGINE_API_KEYS_REQUIRED="true") as service:
        answer = service.http.get("/v1/keys", headers={"authorization": f"Bearer {key['key']}"})
    assert answer.status_code == 401
    with closing(sqlite3.connect(tmp_path / "data" / "memory.sqlite3")) as db:
        assert db.execute("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL").fetchone() == (0,)
