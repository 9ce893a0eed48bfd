"""A store of an earlier version is brought to the present one with what it holds."""

import json
from contextlib import closing

from alembic import command
from sqlalchemy import text

from memory_engine.storage import migrations
from memory_engine.storage.database import Database


def test_rules_learned_before_wait_for_a_person(database_url: str) -> None:
    rows = [
        ("rule", "rule:pay", "learned"), ("ana", "ana|rule:pay", "learned"), ("sure", "rule:pay", "confirmed"),
        ("home", "home", "learned"),
    ]  # fmt: skip
    with closing(Database(database_url)) as database:
        with database.write_alone() as db:
            command.upgrade(migrations._config(db), "0015")
            db.execute(text("INSERT INTO namespaces VALUES (1, 'default', 1, 0)"))
            db.execute(text("INSERT INTO scopes VALUES (1, 1, '', 0, 0, 0)"))
            row = "INSERT INTO patterns VALUES (1, 1, :id, 'statement', :slot, :state, NULL, 'rules/1', 0, 0, '{}')"
            db.execute(text(row), [{"id": name, "slot": slot, "state": state} for name, slot, state in rows])
            db.execute(text("UPDATE patterns SET superseded_by = 'rule' WHERE pattern_id = 'sure'"))
        assert migrations.upgrade(database)
        with database.read() as db:
            found = db.execute(text("SELECT pattern_id, state, superseded_by FROM patterns ORDER BY pattern_id")).all()
    assert [tuple(row) for row in found] == [
        ("ana", "proposed", None), ("home", "learned", None), ("rule", "proposed", None), ("sure", "confirmed", None),
    ]  # fmt: skip


def test_prompts_kept_before_are_found_by_what_they_hold(database_url: str) -> None:
    manifest = {"items": [{"kind": "recalled", "message_ids": ["m1", "m2"]}, {"kind": "user", "message_ids": []}]}
    with closing(Database(database_url)) as database:
        with database.write_alone() as db:
            command.upgrade(migrations._config(db), "0001")
            db.execute(text("INSERT INTO namespaces VALUES (1, 'default', 1, 0)"))
            db.execute(text("INSERT INTO scopes VALUES (1, 1, '', 0, 0)"))
            row = "INSERT INTO contexts VALUES (1, 'ctx_1', 1, 'c', 0, 9, :manifest, '[]')"
            db.execute(text(row), {"manifest": json.dumps(manifest)})
        assert migrations.upgrade(database)
        with database.read() as db:
            held = db.execute(text("SELECT message_id FROM context_messages WHERE context_id = 'ctx_1'"))
            assert sorted(held.scalars()) == ["m1", "m2"]
            assert db.execute(text("SELECT last_change FROM scopes")).scalar_one() == 0
