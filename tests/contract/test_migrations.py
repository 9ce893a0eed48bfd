"""A store of an earlier version is brought to the present one with what it holds."""

import json
from contextlib import closing

from alembic import command
from sqlalchemy import text

from memory_engine.storage import migrations
from memory_engine.storage.database import Database


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
