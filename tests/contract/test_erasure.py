"""Erasure on both databases: what was erased is in no answer at once, in no byte in the end; the rest is all there."""

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, text

from assistant import CustomAssistant, PromptRequest, load_settings
from assistant.copies import Copies
from assistant.errors import ContextErased
from assistant.storage.contexts import load_context
from memory_engine import DEFAULT_SCOPE, MemoryEngine, NewMessage, Page, Receipt, Scope, restoring
from memory_engine.errors import (
    EmptyTarget,
    Erased,
    InvalidTarget,
    MessageNotFound,
    NotFound,
    ReceiptNotFound,
    StoreUnavailable,
)
from memory_engine.retention import DEFAULT_POLICY, Policy, Rule
from memory_engine.storage import standing
from memory_engine.storage.database import Database
from tests.fakes import FixedClock

SECRET = "the vault opens with kestrel-harmonica-7731 at dusk"
ASC = Page(ascending=True)


def said(content: str, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def stands(engine: MemoryEngine, words: str) -> set[str]:
    """The tables that hold the words."""
    with engine.database.read() as db:
        return {table for table, value in standing.cells(db) if words.encode() in value}


def proved(engine: MemoryEngine, receipt: Receipt, **whose: Any) -> Receipt:
    return engine.forgetting.prove(receipt.receipt_id, **whose)


def in_files(folder: Path, words: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and words.encode() in path.read_bytes()]


def test_a_message_goes_with_its_edits_its_metadata_and_all_that_rests_on_it(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    name, kept = engine.remember(
        "c", [said(SECRET, metadata={"code": "kestrel-harmonica-0001-x"}), said("The boat leaves at nine.")]
    ).message_ids
    assert stands(engine, "kestrel-harmonica-0001") == {"chat_messages"}
    engine.edit(name, {"content": "the vault opens with kestrel-harmonica-9942 at dawn"})
    engine.consolidate()
    receipt = engine.erase(message_ids=[name], by="me")
    assert (receipt.kind, receipt.state, receipt.requested_by) == ("messages", "pending", "me")
    assert receipt.counts["messages"] == receipt.counts["versions"] == receipt.counts["terms"] == 1
    assert stands(engine, "kestrel-harmonica") == set()
    done = proved(engine, receipt)
    assert (done.state, done.scan is not None and done.scan["found"]) == ("done", 0)
    assert len(done.content_hashes) == 2, "a backup may hold it in either of its words"
    assert [hit.message_id for hit in engine.recall("when does the boat leave")] == [kept]


def test_who_asks_for_what_was_erased_is_told_the_receipt_and_nobody_else_is(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    (name,) = engine.remember("c", [said(SECRET)]).message_ids
    receipt = engine.erase(conversation_id="c")
    for ask in (lambda: engine.history.message(name), lambda: engine.history.messages("c", ASC)):
        with pytest.raises(Erased, match=receipt.receipt_id):
            ask()
    other = Scope(user="ann")
    engine.remember("d", [said("Hello.")], scope=other)
    with pytest.raises(Exception, match="There is no message"):
        engine.history.message(name, scope=other)
    engine.remember("c", [said("A new beginning.")])
    assert [m.text for m in engine.history.messages("c", ASC)[0]] == ["A new beginning."]
    again = engine.erase(conversation_id="c")
    with pytest.raises(Erased, match=again.receipt_id):
        engine.history.messages("c", ASC)


def test_a_receipt_is_its_own_namespace_s(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    engine.remember("c", [said(SECRET)])
    receipt = engine.erase(conversation_id="c")
    assert engine.forgetting.receipt(receipt.receipt_id).kind == "conversation"
    for named in ({"namespace": "other"}, {}):
        with pytest.raises(ReceiptNotFound):
            engine.forgetting.receipt(receipt.receipt_id if named else "rcpt_none", **named)


def test_what_quotes_it_is_emptied_and_stays_in_its_place(engine_on_both: MemoryEngine) -> None:
    engine, ben = engine_on_both, Scope(user="ben")
    for name, scope in (("c", Scope()), ("ben-c", ben)):
        engine.remember(name, [said("The vault is mine.")], scope=scope)
    (name,) = engine.remember("c", [said(SECRET)]).message_ids
    quotes = [
        NewMessage(role="assistant", text=f"You said: {SECRET}", recallable=recallable, quotes=(name,))
        for recallable in (False, True)
    ]
    asked = said("What did I say of the vault?")
    engine.remember("d", [asked, *quotes])
    engine.remember("ben-d", [said("The harbour is calm.")] * 4, scope=ben)  # at the same places of another scope
    receipt = engine.erase(message_ids=[name])
    assert receipt.counts["quotes"] == 2
    assert [m.text[:7] for m in engine.history.messages("d", ASC)[0]] == [asked["content"][:7], "[erased", "[erased"]
    assert stands(engine, "kestrel") == set()
    assert not [hit for hit in engine.recall("kestrel-harmonica-7731") if hit.text.startswith("[erased")]
    assert all(finding.problems == 0 for finding in engine.examine())
    assert {m.text for m in engine.history.messages("ben-d", ASC, scope=ben)[0]} == {"The harbour is calm."}


def test_a_user_goes_whole_and_may_come_back_as_a_stranger(engine_on_both: MemoryEngine) -> None:
    engine, ann, ben = engine_on_both, Scope(user="ann.kestrel@example.test"), Scope(user="ben")
    engine.remember("ann-and-the-kestrel", [said(SECRET), said("I live in Nantes and prefer tea.")], scope=ann)
    engine.notes.put(ann, "hobby-of-the-kestrel", "Falconry, with a kestrel-harmonica.", agent=None, by="ann")
    engine.remember("b", [said("I live in Ghent.")], scope=ben)
    engine.consolidate()
    receipt = engine.forgetting.user(ann)
    assert engine.recall("where do I live?", scope=ann) == []
    assert engine.history.conversations(ASC, scope=ann)[0] == []
    done = proved(engine, receipt)
    assert (done.state, done.counts["messages"], done.counts["notes"]) == ("done", 2, 1)
    assert stands(engine, "kestrel") == set()
    assert [hit.text for hit in engine.recall("where do I live?", scope=ben)] == ["I live in Ghent."]
    engine.remember("again", [said("I live in Rome.")], scope=ann)
    assert [hit.text for hit in engine.recall("where do I live?", scope=ann)] == ["I live in Rome."]


@pytest.mark.parametrize("whose", ["talk", "user"])
def test_summaries_that_outlived_their_messages_go_and_are_looked_for(
    tmp_path: Path, clock: FixedClock, whose: str
) -> None:
    with MemoryEngine.open(tmp_path, clock=clock) as engine:
        ann = Scope(user="ann")
        engine.remember("c", [said(f"{SECRET} {number}") for number in range(5)], scope=ann)
        engine.consolidate()
        policy = Policy(rules=(Rule(stratum="messages", keep_newest=0, keep_summaries=True),), restorable_days=1)
        engine.pruner.prune("default", policy)
        clock.advance(days=2)
        engine.pruner.prune("default", policy)
        assert stands(engine, "kestrel") == {"summary_sentences"}
        receipt = engine.erase(conversation_id="c", scope=ann) if whose == "talk" else engine.forgetting.user(ann)
        (tmp_path / "left").write_text(f"and {SECRET} 4")
        assert proved(engine, receipt).state == "pending"
        (tmp_path / "left").unlink()
        assert proved(engine, receipt).state == "done"
        assert stands(engine, "kestrel") == set()


def test_a_namespace_goes_whole_and_its_neighbours_stay(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    for user in (None, "ann", "ben"):
        engine.remember(f"c-{user}", [said(f"{SECRET} {user}")], scope=Scope(namespace="shop", user=user))
        engine.remember(f"c-{user}", [said("The neighbour's cat is grey.")], scope=Scope(namespace="home", user=user))
    engine.pruner.write_policy("shop", DEFAULT_POLICY)
    receipt = engine.forgetting.namespace("shop")
    with engine.database.read() as db:
        assert db.execute(text("SELECT count(*) FROM retention_policies")).scalar_one() == 0
    assert engine.stats("shop").messages == 0
    done = proved(engine, receipt, namespace="shop")
    assert (done.state, done.counts["messages"]) == ("done", 3)
    assert stands(engine, "kestrel") == set()
    assert engine.stats("home").messages == 3
    with engine.database.read() as db:
        names = set(db.execute(text("SELECT name FROM namespaces")).scalars())
    assert "home" in names
    assert not any("shop" in name for name in names)


def test_a_file_that_cannot_be_read_keeps_the_receipt_pending_and_says_why(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path) as engine:
        engine.remember("c", [said(SECRET)])
        unreadable = tmp_path / "unreadable"
        unreadable.symlink_to("/proc/self/mem")  # its first bytes can be read by nobody, not even by root
        receipt = engine.erase(conversation_id="c")
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            proved(engine, receipt)
        assert engine.parts()["erasures"].detail
        unreadable.unlink()
        assert proved(engine, receipt).state == "done"
        assert "erasures" not in engine.parts()


def test_who_is_not_there_cannot_be_erased(engine_on_both: MemoryEngine) -> None:
    for erase in (
        lambda: engine_on_both.forgetting.user(Scope(user="nobody")),
        lambda: engine_on_both.forgetting.namespace("nowhere"),
    ):
        with pytest.raises(NotFound):
            erase()


@pytest.mark.parametrize("empty", [None, "", " ", [], [""], [None], ["msg_a", ""]])
def test_what_is_empty_names_nothing_to_erase(engine_on_both: MemoryEngine, empty: Any) -> None:
    engine, ann = engine_on_both, Scope(user="ann")
    for scope in (DEFAULT_SCOPE, ann):
        engine.remember(f"c-{scope.user}", [said(f"Hello, {scope.user}.")], scope=scope)
    for scope in (DEFAULT_SCOPE, ann):
        for erase in (
            lambda scope=scope: engine.forgetting.messages(empty, scope=scope),
            lambda scope=scope: engine.forgetting.conversation(empty, scope=scope),
            lambda scope=scope: engine.erase(message_ids=empty, scope=scope),
            lambda scope=scope: engine.erase(conversation_id=empty, scope=scope),
            lambda: engine.forgetting.namespace(empty),
        ):
            with pytest.raises(InvalidTarget, match=r"\.$"):
                erase()
    assert engine.stats().messages == 2


def test_a_user_without_a_name_is_erased_only_when_it_is_meant(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    engine.remember("c", [said("Hello.")])
    engine.remember("d", [said("Hello, Ann.")], scope=Scope(user="ann"))
    with pytest.raises(EmptyTarget):
        engine.forgetting.user(DEFAULT_SCOPE)
    with pytest.raises(InvalidTarget):
        engine.forgetting.user(Scope(user="ann"), default_user=True)
    assert engine.recall("hello")
    assert engine.recall("hello", scope=Scope(user="ann"))
    engine.forgetting.user(DEFAULT_SCOPE, default_user=True)
    assert engine.recall("hello") == []
    assert engine.recall("hello", scope=Scope(user="ann"))


def test_what_is_named_twice_or_by_a_text_is_refused(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    (name,) = engine.remember("c", [said("Hello.")]).message_ids
    with pytest.raises(InvalidTarget, match="Name either"):
        engine.erase(message_ids=[], conversation_id="c")
    with pytest.raises(InvalidTarget, match="must be a list"):
        engine.erase(message_ids=name)
    with pytest.raises(MessageNotFound, match="There are no messages 'msg_x', 'msg_y'"):
        engine.erase(message_ids=["msg_x", name, "msg_y", "msg_x"])
    assert engine.history.message(name).text == "Hello."


def test_the_same_words_of_others_stay_and_the_receipt_says_where(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    first, second = engine.remember("c", [said(SECRET), said(SECRET)]).message_ids
    done = proved(engine, engine.erase(message_ids=[first]))
    assert done.state == "done"
    assert done.scan is not None
    assert done.scan["said_elsewhere"]["chat_messages"] > 0
    assert any("PostgreSQL" in place for place in done.scan["not_in_reach"]) != engine.database.is_sqlite
    assert engine.history.message(second).text == SECRET


def test_a_copy_that_somebody_kept_keeps_the_receipt_pending(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path) as engine:
        (name,) = engine.remember("c", [said("Hello.", metadata={"code": "kestrel-harmonica-0001-x"})]).message_ids
        receipt = engine.erase(message_ids=[name])
        copy = tmp_path / "copy.txt"
        copy.write_text("of its metadata alone: kestrel-harmonica-0001-x")
        found = proved(engine, receipt)
        assert found.scan is not None
        assert (found.state, found.completed_at, found.scan["found_in"]) == ("pending", None, ["copy.txt"])
        copy.unlink()
        done = proved(engine, receipt)
        assert (done.state, done.completed_at is not None) == ("done", True)


def test_proofs_and_backups_leave_nothing_in_memory(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    first, second = engine.remember("c", [said(SECRET), said(SECRET)]).message_ids
    receipt = engine.erase(message_ids=[first])

    def described_tables() -> int:
        proved(engine, receipt)
        assert list(engine.backup())
        gc.collect()
        return sum(isinstance(kept, Table) for kept in gc.get_objects())

    assert described_tables() == described_tables()
    assert engine.history.message(second).text == SECRET


def test_names_are_looked_for_too(tmp_path: Path) -> None:
    names = ("the-shop-of-the-kestrel", "ann.kestrel@example.test", "harmonica-conversation")
    shop = Scope(namespace=names[0], user=names[1])
    with MemoryEngine.open(tmp_path) as engine:
        engine.remember(names[2], [said("Hello.")], scope=shop)
        receipt = engine.forgetting.namespace(names[0])
        assert proved(engine, receipt, namespace=names[0]).state == "done"
        for name in names:
            (tmp_path / "copy.txt").write_text(f"a log line of {name}")
            again = proved(engine, receipt, namespace=names[0])
            assert again.scan is not None
            assert again.scan["found_in"] == ["copy.txt"], name


def test_a_database_outside_of_the_folder_is_looked_through_too(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.sqlite3"
    with MemoryEngine.open(tmp_path / "data", database_url=f"sqlite:///{file}") as engine:
        engine.remember("c", [said(SECRET)])
        done = proved(engine, engine.erase(conversation_id="c"))
        assert done.scan is not None
        assert done.scan["bytes"] > file.stat().st_size


def test_the_vector_index_is_made_anew_without_it(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path, index_threshold=3) as engine:
        kept = engine.remember("c", [said(f"The boat {n} leaves.") for n in range(4)]).message_ids
        (name,) = engine.remember("d", [said(SECRET)]).message_ids
        assert all(finding.healthy for finding in engine.examine(repair=True))
        assert proved(engine, engine.erase(message_ids=[name])).state == "done"
        assert {hit.message_id for hit in engine.recall("boat")} == set(kept)
        assert all(finding.problems == 0 for finding in engine.examine())


def test_no_byte_of_it_is_left_and_that_can_be_shown_again(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path) as engine:
        assistant = CustomAssistant(engine, settings=load_settings(data_dir=tmp_path))
        other = [said(f"Entry {n}: the weather over the harbour was fine, and nobody came.") for n in range(300)]
        engine.remember("log", other)
        (name,) = engine.remember("c", [said(SECRET)]).message_ids
        engine.remember("log", other)
        reply = assistant.process_message("What opens the vault?", "talk")
        assert "kestrel" in reply.text
        assistant.call_tools([
            {"id": "1", "type": "function",
             "function": {"name": "search_memory", "arguments": json.dumps({"query": "vault"})}}
        ])  # fmt: skip
        engine.consolidate()
        assert in_files(tmp_path, "kestrel-harmonica")
        receipt = engine.erase(message_ids=[name])
        assert receipt.counts["contexts"] == receipt.counts["quotes"] == receipt.counts["tool_outputs"] == 1
        assert stands(engine, "kestrel") == set()
        done = proved(engine, receipt)
        assert (done.state, in_files(tmp_path, "kestrel-harmonica")) == ("done", [])
        assert done.scan is not None
        assert done.scan["canaries"] > 3
        (tmp_path / "copy.txt").write_text(f"somebody kept it: {SECRET}")
        again = proved(engine, receipt)
        assert again.scan is not None
        assert (again.scan["found"] > 0, again.scan["found_in"]) == (True, ["copy.txt"])
        assert engine.stats().messages == 602
        assistant.close()


def test_a_proof_lets_go_of_no_lock(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path) as engine:
        (name,) = engine.remember("c", [said(SECRET)]).message_ids
        assert proved(engine, engine.erase(message_ids=[name])).state == "done"
        # Another program can leave the mode of the log only where nobody has the database open.
        leave = "PRAGMA journal_mode=DELETE"
        other = f"import sqlite3, sys; print(*sqlite3.connect(sys.argv[1], timeout=0).execute('{leave}').fetchone())"
        file = str(tmp_path / "memory.sqlite3")
        done = subprocess.run([sys.executable, "-c", other, file], capture_output=True, text=True, check=False)
        assert "database is locked" in done.stderr
        engine.remember("c", [said("The boat leaves at nine.")])
        assert [hit.text for hit in engine.recall("boat")] == ["The boat leaves at nine."]


Erasing = Callable[[], None]


@pytest.fixture
def restored(engine_on_both: MemoryEngine, tmp_path: Path, clock: FixedClock) -> Callable[[Erasing], MemoryEngine]:
    """The store as it is when a backup that was made before some erasures is put in its place."""

    def restore(erase: Erasing) -> MemoryEngine:
        engine = engine_on_both
        made = tmp_path / "backup"
        made.write_bytes(b"".join(engine.backup()))
        clock.advance(days=1)
        erase()
        url = engine.database.url
        engine.close()
        with closing(Database(url)) as database:
            restoring.restore(database, made, clock, {"assistant": Copies(clock)}, replace=True)
        return MemoryEngine.open(tmp_path / "again", database_url=url, clock=clock)

    return restore


def test_a_backup_does_not_bring_back_what_was_erased_since(
    engine_on_both: MemoryEngine, restored: Callable[[Erasing], MemoryEngine], clock: FixedClock
) -> None:
    engine, ann = engine_on_both, Scope(user="ann-kestrel")
    gone, stays, edited = engine.remember("c", [said(SECRET), said("ok"), said("Of a kestrel, at first.")]).message_ids
    also_ok, _ = engine.remember("d", [said("ok"), said("The boat leaves at nine.")]).message_ids
    engine.remember("whole-kestrel", [said("A kestrel of my own.")])
    engine.remember("ann", [said("The kestrel is mine, says Ann.")], scope=ann)
    engine.notes.put(ann, "bird", "a kestrel", agent=None, by="ann")
    with closing(CustomAssistant(engine)) as assistant:
        prompt = PromptRequest(conversation_id="elsewhere", message="What opens the vault?", agent=None)
        assistant.context_manager.assemble(prompt, Scope())
    assert "contexts" in stands(engine, "kestrel-harmonica")

    def erase() -> None:
        engine.edit(edited, {"content": "Now of a kestrel in the rain."})
        engine.erase(message_ids=[gone, edited, also_ok])
        engine.erase(conversation_id="whole-kestrel")
        engine.forgetting.user(ann)
        clock.advance(days=1)
        engine.remember("e", [said("ok")])

    with restored(erase) as again:
        texts = [m.text for name in ("c", "d") for m in again.history.messages(name, ASC)[0]]
        assert texts == ["ok", "The boat leaves at nine."]
        assert again.history.message(stays).text == "ok"
        assert again.recall("kestrel", scope=ann) == again.recall("kestrel") == []
        with pytest.raises(Erased):
            again.history.conversation("whole-kestrel")
        again._parts.prover.work()
        assert stands(again, "kestrel") == set()


def test_a_backup_does_not_bring_back_what_a_policy_took_before_the_erasure(
    engine_on_both: MemoryEngine, restored: Callable[[Erasing], MemoryEngine], clock: FixedClock
) -> None:
    engine = engine_on_both
    engine.remember("c", [said("A kestrel of long ago.")])

    def erase() -> None:
        at_once = Policy(rules=(Rule(stratum="messages", keep_newest=0),), restorable_days=0)
        engine.pruner.prune("default", at_once)
        clock.advance(seconds=1)
        engine.pruner.prune("default", at_once)
        assert stands(engine, "kestrel") == set()
        engine.erase(conversation_id="c")

    with restored(erase) as again:
        assert again.recall("kestrel") == []
        with pytest.raises(Erased):
            again.history.conversation("c")
        assert stands(again, "kestrel") == set()


@pytest.fixture
def talking(engine_on_both: MemoryEngine, tmp_path: Path) -> Iterator[CustomAssistant]:
    """An assistant without a model, whose replies quote what is remembered."""
    assistant = CustomAssistant(engine_on_both, settings=load_settings(data_dir=tmp_path))
    yield assistant
    assistant.close()


def test_a_prompt_that_held_a_reply_which_quoted_it_goes_too(
    engine_on_both: MemoryEngine, talking: CustomAssistant
) -> None:
    engine = engine_on_both
    (name,) = engine.remember("c", [said(SECRET)]).message_ids
    first = talking.process_message("What opens the vault?", "talk")
    assert "kestrel" in first.text
    second = talking.process_message("Thank you, and the weather?", "talk")
    receipt = engine.erase(message_ids=[name])
    assert receipt.counts["contexts"] == 2
    assert stands(engine, "kestrel") == set()
    with pytest.raises(ContextErased, match=receipt.receipt_id):
        load_context(engine, Scope(), second.manifest_id)


def test_who_talked_with_the_assistant_goes_whole(engine_on_both: MemoryEngine, talking: CustomAssistant) -> None:
    engine, ann = engine_on_both, Scope(user="ann")
    engine.remember("c", [said(SECRET)], scope=ann)
    assert "kestrel" in talking.process_message("What opens the vault?", "talk", scope=ann).text
    engine.consolidate()
    receipt = engine.forgetting.user(ann)
    done = proved(engine, receipt)
    assert (done.state, done.counts["contexts"], stands(engine, "kestrel")) == ("done", 1, set())


def test_who_came_back_before_the_backup_stays_and_a_namespace_that_went_since_does_not(
    engine_on_both: MemoryEngine, restored: Callable[[Erasing], MemoryEngine], clock: FixedClock
) -> None:
    engine, ann, shop = engine_on_both, Scope(user="ann"), Scope(namespace="shop", user="ben")
    engine.remember("a", [said(SECRET)], scope=ann)
    engine.forgetting.user(ann)
    emptied = engine.remember("emptied", [said("Nothing stays of this.")]).message_ids
    engine.erase(message_ids=emptied)
    clock.advance(days=1)
    engine.remember("b", [said("I live in Rome.")], scope=ann)
    engine.remember("s", [said("The kestrel of the shop.")], scope=shop)
    engine.notes.put(shop, "bird", "a kestrel", agent=None, by="ben")

    def erase() -> None:
        engine.remember("c", [said("Said and erased after the backup.")])
        engine.erase(conversation_id="c")
        engine.forgetting.namespace("shop")

    with restored(erase) as again:
        assert [hit.text for hit in again.recall("where do I live?", scope=ann)] == ["I live in Rome."]
        assert again.history.conversation("emptied").messages == 0
        assert again.recall("kestrel", scope=shop) == []
        again._parts.prover.work()
        assert stands(again, "kestrel") == set()


def test_a_backup_of_another_store_comes_without_its_list(
    engine: MemoryEngine, tmp_path: Path, clock: FixedClock
) -> None:
    (mine,) = engine.remember("c", [said(SECRET)]).message_ids
    receipt = engine.erase(message_ids=[mine])
    with MemoryEngine.open(tmp_path / "other", clock=clock) as other:
        gone, _ = other.remember("d", [said("Gone."), said("The other store's boat.")]).message_ids
        theirs = other.erase(message_ids=[gone])
        (tmp_path / "backup").write_bytes(b"".join(other.backup()))
    url = engine.database.url
    engine.close()
    with closing(Database(url)) as database:
        restoring.restore(database, tmp_path / "backup", clock, {}, replace=True)
    with MemoryEngine.open(tmp_path / "again", database_url=url, clock=clock) as again:
        assert [hit.text for hit in again.recall("boat")] == ["The other store's boat."]
        with pytest.raises(Erased, match=receipt.receipt_id):
            again.history.message(mine)
        with pytest.raises(ReceiptNotFound):
            again.forgetting.receipt(theirs.receipt_id)


def test_a_proof_is_broken_off_when_the_store_is_closed(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    engine._parts.stop_background()
    (name,) = engine.remember("c", [said(SECRET)]).message_ids
    receipt = engine.erase(message_ids=[name])
    engine._parts._store.closing.set()
    with pytest.raises(StoreUnavailable, match="erasure"):
        engine.forgetting.prove(receipt.receipt_id)
    assert engine.forgetting.receipt(receipt.receipt_id).state == "pending"
