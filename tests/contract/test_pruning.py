"""Pruning: what goes by a policy is marked, comes back within its window, and then is gone, on both databases."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text, update

from assistant import CustomAssistant, PromptRequest
from memory_engine import MemoryEngine, Page, RecallQuery, Scope
from memory_engine.errors import ConversationNotFound, Erased, MessageNotFound
from memory_engine.pruning import Share
from memory_engine.retention import DEFAULT_POLICY, Columns, Policy, Rows, Rule
from memory_engine.storage import prunes, scopes, standing
from memory_engine.storage.schema import RetentionPolicy
from tests.fakes import FixedClock

ASC = Page(limit=1000, ascending=True)
WORDS = ("zeppelin", "submarine", "tram", "bicycle", "glider", "barge", "sledge", "canoe")
MONTH = Policy(rules=(Rule(stratum="messages", older_than_days=30),))


def say(engine: MemoryEngine, conversation: str, days_ago: float, *words: str, **fields: Any) -> tuple[str, ...]:
    at = engine.clock.now() - timedelta(days=days_ago)
    said = [{"role": "user", "content": f"The {word} is mine.", "created_at": at} for word in words]
    return engine.remember(conversation, said, **fields).message_ids


def texts(engine: MemoryEngine, query: str) -> list[str]:
    return [hit.text for hit in engine.recall(query)]


def listed(engine: MemoryEngine, conversation: str) -> list[str]:
    return [message.message_id for message in engine.history.messages(conversation, ASC)[0]]


def of_messages(shares: Sequence[Share], action: str) -> int:
    return sum(share.rows for share in shares if share.stratum == "messages" and share.action == action)


def answers(engine: MemoryEngine) -> list[list[tuple[str, float]]]:
    return [[(hit.message_id, hit.score) for hit in engine.recall(f"Where is the {word}?")] for word in WORDS]


def holding(engine: MemoryEngine, word: str) -> set[str]:
    """The tables in whose rows a word stands."""
    with engine.database.read() as db:
        return {table for table, value in standing.cells(db) if word.encode() in value}


def healthy(engine: MemoryEngine) -> bool:
    engine.consolidate()
    return all(finding.problems == 0 for finding in engine.examine())


def test_what_is_pruned_is_out_of_everything_and_comes_back_as_it_was(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    old = say(engine, "old", 40, *WORDS[:4])
    new = say(engine, "new", 2, *WORDS[4:])
    before = answers(engine)
    told = engine.pruner.prune("default", MONTH, dry_run=True)
    assert answers(engine) == before
    assert engine.pruner.prune("default", MONTH) == told
    assert of_messages(told, "mark") == 4
    assert sum(share.bytes for share in told) == sum(len(f"The {word} is mine.") for word in WORDS[:4])
    assert texts(engine, "zeppelin") == []
    assert (listed(engine, "old"), listed(engine, "new")) == ([], list(new))
    assert engine.history.newest("old", 10) == []
    assert engine.history.conversation("old").messages == 0
    with pytest.raises(MessageNotFound):
        engine.history.message(old[0])
    assert healthy(engine)
    assert engine.pruner.restore_conversation(Scope(), "old") == 4
    assert answers(engine) == before
    assert listed(engine, "old") == list(old)
    assert healthy(engine)


def test_what_is_not_brought_back_goes_with_all_that_was_made_of_it(
    engine_on_both: MemoryEngine, clock: FixedClock
) -> None:
    engine = engine_on_both
    old = say(engine, "c", 40, "zeppelin", "submarine")
    say(engine, "c", 1, "tram")
    engine.edit(old[0], {"content": "The balloon is mine."})
    engine.consolidate()
    engine.pruner.prune("default", MONTH)
    clock.advance(days=6)
    assert of_messages(engine.pruner.prune("default", MONTH), "remove") == 0
    clock.advance(days=2)
    told = engine.pruner.prune("default", MONTH, dry_run=True)
    assert engine.pruner.prune("default", MONTH) == told
    assert of_messages(told, "remove") == 2
    assert engine.stats().messages == 1
    with pytest.raises(MessageNotFound):
        engine.pruner.restore_messages(Scope(), old)
    assert healthy(engine)
    assert say(engine, "c", 0, "zeppelin") != old
    assert texts(engine, "zeppelin") == ["The zeppelin is mine."]


def test_pins_and_holds_win(engine_on_both: MemoryEngine, clock: FixedClock) -> None:
    engine = engine_on_both
    pinned, other = say(engine, "c", 40, "zeppelin", "submarine")
    held = say(engine, "held", 40, "tram")
    engine.pins.pin(pinned)
    engine.pins.hold("held")
    assert engine.history.message(pinned).pinned
    assert engine.history.conversation("held").on_hold
    assert of_messages(engine.pruner.prune("default", MONTH), "mark") == 1
    assert (listed(engine, "c"), listed(engine, "held")) == ([pinned], list(held))
    engine.pins.hold("c")  # what is marked already is not removed while the hold lasts
    clock.advance(days=8)
    assert engine.pruner.prune("default", MONTH) == []
    for conversation in ("c", "held"):
        engine.pins.release(conversation)
    engine.pins.unpin(pinned)
    done = engine.pruner.prune("default", MONTH)
    assert (of_messages(done, "remove"), of_messages(done, "mark")) == (1, 2)
    assert engine.pruner.restore_messages(Scope(), [pinned, *held]) == 2
    assert other not in listed(engine, "c")


def test_a_pinned_message_ranks_a_little_higher(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    first, second = (say(engine, name, 1, "zeppelin")[0] for name in ("a", "b"))
    assert [hit.message_id for hit in engine.recall("zeppelin")] == [first, second]
    engine.pins.pin(second)
    hits = engine.recall("zeppelin")
    assert [(hit.message_id, hit.why["pinned"] > 0) for hit in hits] == [(second, True), (first, False)]
    ana = Scope(user="ana")  # whose messages have the same places
    for name in ("ana-a", "ana-b"):
        say(engine, name, 1, "zeppelin", scope=ana)
    assert not any(hit.why.get("pinned") for hit in engine.recall("zeppelin", scope=ana))


def test_summaries_outlive_their_messages_where_the_policy_says_so(
    engine_on_both: MemoryEngine, clock: FixedClock
) -> None:
    engine = engine_on_both
    say(engine, "c", 40, *WORDS[:4])
    engine.consolidate()
    (whole, segment) = engine.history.summaries("c")
    assert not whole.rests_on_pruned
    rule = replace(MONTH.rules[0], keep_summaries=True)
    policy = Policy(rules=(rule, Rule(stratum="summaries", older_than_days=365)))
    engine.pruner.prune("default", policy)
    clock.advance(days=8)
    engine.pruner.prune("default", policy)
    assert healthy(engine)
    kept = engine.history.summaries("c")
    assert [(each.text, each.rests_on_pruned) for each in kept] == [(whole.text, True), (segment.text, True)]
    assert kept[0].message_ids == ()
    say(engine, "c", 0, "canoe")  # the conversation goes on: what outlived stays
    assert healthy(engine)
    assert segment.text in [each.text for each in engine.history.summaries("c") if each.rests_on_pruned]
    clock.advance(days=366)
    engine.pins.hold("c")
    assert engine.pruner.prune("default", Policy(rules=policy.rules[1:])) == []
    engine.pins.release("c")
    engine.pruner.prune("default", Policy(rules=policy.rules[1:]))
    assert not [each for each in engine.history.summaries("c") if each.rests_on_pruned]
    assert healthy(engine)


def test_summaries_that_would_have_outlived_are_as_before_after_a_restore(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    say(engine, "c", 40, *WORDS[:4])
    engine.consolidate()
    before = [(each.level, each.text) for each in engine.history.summaries("c")]
    ana = Scope(user="ana")  # whose messages have the same places
    say(engine, "ana", 1, *WORDS[:4], scope=ana)
    engine.consolidate()
    engine.pruner.prune("default", Policy(rules=(replace(MONTH.rules[0], keep_summaries=True),)))
    assert all(each.rests_on_pruned for each in engine.history.summaries("c"))
    assert not any(each.rests_on_pruned for each in engine.history.summaries("ana", scope=ana))
    engine.pruner.restore_since("default", engine.clock.now())
    engine.consolidate()
    after = engine.history.summaries("c")
    assert [(each.level, each.text) for each in after] == before
    assert not any(each.rests_on_pruned for each in after)


def test_without_that_nothing_says_what_the_pruned_messages_said(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    at = engine.clock.now() - timedelta(days=40)
    engine.remember("c", [{"role": "user", "content": "I live in Lyon.", "created_at": at}])
    say(engine, "c", 1, *WORDS[:3])
    engine.consolidate()
    engine.pruner.prune("default", MONTH)
    engine.consolidate()
    assert "Lyon" not in " ".join(each.text for each in engine.history.summaries("c"))
    assert "Lyon" not in " ".join(each.text for each in engine.patterns.of(Scope()))


def test_old_versions_go_by_a_rule_of_their_own(engine_on_both: MemoryEngine, clock: FixedClock) -> None:
    engine = engine_on_both
    (name,) = say(engine, "c", 1, "zeppelin")
    for word in ("submarine", "tram"):
        engine.edit(name, {"content": f"The {word} is mine."})
        clock.advance(days=10)
    policy, ana = Policy(rules=(Rule(stratum="versions", older_than_days=15),)), Scope(user="ana")
    (hers,) = say(engine, "ana", 1, "zeppelin", scope=ana)  # the same place and version in another scope
    engine.edit(hers, {"content": "The canoe is mine."}, scope=ana)
    engine.pins.pin(name)
    assert engine.pruner.prune("default", policy) == []
    engine.pins.unpin(name)
    assert [(share.stratum, share.rows) for share in engine.pruner.prune("default", policy)] == [("versions", 1)]
    assert texts(engine, "tram") == ["The tram is mine."]
    assert engine.pruner.prune("default", policy) == []
    assert engine.erase(message_ids=[hers], scope=ana).counts["versions"] == 1


def test_a_rule_of_an_agent_takes_only_what_was_said_with_it(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    say(engine, "a", 40, "zeppelin", agent="pm")
    say(engine, "b", 40, "submarine", agent="spec")
    policy = Policy(rules=(Rule(stratum="messages", older_than_days=30, agent="pm"),))
    assert of_messages(engine.pruner.prune("default", policy), "mark") == 1
    assert texts(engine, "submarine") == ["The submarine is mine."]


def test_a_policy_rules_in_its_own_namespace_and_counts_for_each_user(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    users = [Scope(user="ana"), Scope(user="ben"), Scope(namespace="other", user="ana")]
    for number, scope in enumerate(users):
        say(engine, f"c{number}", 1, *WORDS[:3], scope=scope)
    engine.pruner.write_policy("default", Policy(rules=(Rule(stratum="messages", keep_newest=2),)))
    assert of_messages(engine.pruner.prune("default"), "mark") == 2
    assert engine.pruner.prune("other") == []
    assert [len(engine.recall("mine", scope=scope)) for scope in users] == [2, 2, 3]
    for stranger in (Scope(user="ben"), Scope(namespace="other", user="ana")):
        with pytest.raises(ConversationNotFound):
            engine.pruner.restore_conversation(stranger, "c0")
    assert engine.pruner.restore_since("default", engine.clock.now(), scope=users[0]) == 1
    assert engine.pruner.restore_since("default", engine.clock.now()) == 1


def test_where_nobody_knows_what_was_recalled_nothing_goes_for_not_being_recalled(
    engine_on_both: MemoryEngine,
) -> None:
    say(engine_on_both, "c", 40, "zeppelin")
    policy = Policy(rules=(Rule(stratum="messages", unless_recalled_days=1),))
    assert engine_on_both.pruner.prune("default", policy) == []


def test_what_is_pruned_can_be_erased_and_its_id_stays_taken(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    at = (engine.clock.now() - timedelta(days=40)).isoformat()
    said = {"role": "user", "content": "The zeppelin is mine.", "id": "msg_mine", "created_at": at}
    engine.remember("c", [said])
    engine.pruner.prune("default", MONTH)
    assert engine.remember("c", [said]).message_ids == ("msg_mine",)
    assert engine.erase(message_ids=["msg_mine"]).counts["messages"] == 1
    with pytest.raises(Erased):
        engine.pruner.restore_messages(Scope(), ["msg_mine"])


def test_a_summary_that_outlives_does_not_stand_in_the_way_of_an_erasure(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    names = say(engine, "c", 40, *WORDS[:3])
    engine.consolidate()
    engine.pruner.prune("default", Policy(rules=(replace(MONTH.rules[0], keep_summaries=True),)))
    engine.erase(message_ids=[names[0]])
    engine.consolidate()
    assert "zeppelin" not in " ".join(each.text for each in engine.history.summaries("c"))


def test_the_day_comes_by_the_clock_and_at_the_start(engine_on_both: MemoryEngine, clock: FixedClock) -> None:
    engine = engine_on_both
    engine.pruner.write_policy("default", MONTH)
    engine.pruner.work()  # nothing is there yet
    say(engine, "c", 40, "zeppelin")
    clock.advance(hours=23)
    engine.pruner.work()
    assert texts(engine, "zeppelin")
    clock.advance(hours=2)
    engine.pruner.work()
    assert texts(engine, "zeppelin") == []
    clock.advance(days=-300)  # a clock that was set back does not stop the days
    say(engine, "c", 40, "tram")
    engine.pruner.work()
    assert texts(engine, "tram") == []


def test_the_vector_index_follows(tmp_path: Any, clock: FixedClock) -> None:
    with MemoryEngine.open(tmp_path / "data", index_threshold=3, clock=clock) as engine:
        say(engine, "old", 40, *WORDS[:4])
        say(engine, "new", 2, *WORDS[4:])
        assert all(finding.healthy for finding in engine.examine(repair=True))
        before = answers(engine)
        engine.pruner.prune("default", MONTH)
        assert "The zeppelin is mine." not in texts(engine, "zeppelin")
        assert all(finding.problems == 0 for finding in engine.examine())
        engine.pruner.restore_since("default", clock.now())
        assert answers(engine) == before
        assert all(finding.problems == 0 for finding in engine.examine())


def test_the_default_policy_leaves_what_was_said(engine_on_both: MemoryEngine) -> None:
    say(engine_on_both, "c", 4_000, "zeppelin")
    assert engine_on_both.pruner.policy("default").policy == DEFAULT_POLICY
    assert engine_on_both.pruner.prune("default") == []
    assert engine_on_both.search(RecallQuery(text="zeppelin")).hits


class Onlooker:
    """A stratum of one row, whose removal sees what recall says while a pruning is at work."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self.seen: list[list[str]] = []

    def rows(self, _db: Any, _key: Any, _agent: str | None, _active: Any) -> Rows:
        rows = Columns()
        rows.add("row", at=0, size=0, active_at=0, used_at=0, protected=False)
        return Rows.of(rows)

    def remove(self, _db: Any, _key: Any, ids: Sequence[str]) -> int:
        self.seen.append(texts(self.engine, "zeppelin"))
        return len(ids)


def test_what_is_marked_is_out_of_recall_before_the_pruning_ends(tmp_path: Any, clock: FixedClock) -> None:
    with MemoryEngine.open(tmp_path, clock=clock) as engine:
        say(engine, "c", 40, "zeppelin")
        assert texts(engine, "zeppelin")
        engine.pruner.strata["contexts"] = onlooker = Onlooker(engine)
        engine.pruner.prune("default", Policy(rules=(*MONTH.rules, Rule(stratum="contexts", older_than_days=1))))
        assert onlooker.seen[0] == []


def test_a_pruning_that_cannot_be_done_is_named_and_holds_up_no_other(engine: MemoryEngine, clock: FixedClock) -> None:
    engine._parts.stop_background()
    for namespace in ("broken", "sound"):
        said = {"role": "user", "content": "zeppelin", "created_at": (clock.now() - timedelta(days=40)).isoformat()}
        engine.remember(f"c-{namespace}", [said], scope=Scope(namespace=namespace))
        engine.pruner.write_policy(namespace, MONTH)
    wrong = {"rules": [{"stratum": "dreams"}]}
    with engine.database.write() as db:
        broken = db.execute(text("SELECT min(namespace_id) FROM retention_policies")).scalar_one()
        db.execute(update(RetentionPolicy).where(RetentionPolicy.namespace_id == broken).values(policy=wrong))
    for _ in range(3):
        engine.pruner.work()
        clock.advance(seconds=20)
    with engine.database.read() as db:
        assert db.execute(text("SELECT count(*) FROM chat_messages WHERE pruned_at IS NOT NULL")).scalar_one() == 1
    (item,) = engine.parts()["background"].items
    assert (item.stage, item.namespace, item.attempts) == ("pruning", "broken", 3)
    assert engine.parts("sound")["background"].items == (), "another namespace is not told which"
    engine.pruner.write_policy("broken", MONTH)
    engine.examine(repair=True)
    engine.pruner.work()
    assert "background" not in engine.parts()
    with engine.database.read() as db:
        assert db.execute(text("SELECT count(*) FROM chat_messages WHERE pruned_at IS NOT NULL")).scalar_one() == 2


def test_two_rules_take_a_row_once(engine: MemoryEngine) -> None:
    say(engine, "c", 40, "zeppelin", "submarine")
    rules = tuple(Rule(stratum="messages", older_than_days=days) for days in (30, 35))
    told = engine.pruner.prune("default", Policy(rules=rules), dry_run=True)
    assert [(share.rule, share.rows) for share in told] == [("older_than_days 30", 2)]
    assert engine.pruner.prune("default", Policy(rules=rules)) == told


def test_only_what_is_marked_and_ones_own_is_brought_back(engine_on_both: MemoryEngine) -> None:
    engine, ben = engine_on_both, Scope(user="ben")
    marked, stays = (*say(engine, "c", 40, "zeppelin"), *say(engine, "c", 1, "tram"))
    say(engine, "d", 40, "submarine")
    say(engine, "ben", 40, "canoe", scope=ben)
    engine.pruner.prune("default", MONTH)
    for scope, names in ((ben, [marked]), (Scope(), [stays]), (Scope(), [marked, stays])):
        with pytest.raises(MessageNotFound):
            engine.pruner.restore_messages(scope, names)
    assert (listed(engine, "c"), engine.recall("canoe", scope=ben)) == ([stays], [])
    assert engine.pruner.restore_conversation(Scope(), "c") == 1
    assert (listed(engine, "c"), listed(engine, "d")) == ([marked, stays], [])


def test_what_was_pinned_held_or_brought_back_meanwhile_is_left(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    say(engine, "c", 40, "zeppelin", "submarine", "tram")
    say(engine, "held", 40, "canoe")
    engine.pins.pin(listed(engine, "c")[0])
    engine.pins.hold("held")
    with engine.database.write() as db:
        key = scopes.find_scope(db, Scope())
        assert key is not None
        seqs = [m.seq for name in ("c", "held") for m in engine.history.messages(name, ASC)[0]]
        assert prunes.mark(db, key, seqs, by="a rule", now=1) == seqs[1:3]
        assert sorted(prunes.still_expired(db, key, seqs)) == seqs[1:3]
        prunes.unmark(db, key, seqs[2:3])
        assert sorted(prunes.still_expired(db, key, seqs)) == seqs[1:2]
    engine.pins.hold("c")
    with engine.database.read() as db:
        assert prunes.still_expired(db, key, seqs) == {}


def test_a_prompt_does_not_outlive_what_it_held(engine: MemoryEngine, clock: FixedClock) -> None:
    say(engine, "c", 40, "zeppelin")
    with closing(CustomAssistant(engine)) as assistant:
        prompt = PromptRequest(conversation_id="d", message="Which of them is mine?", agent=None)
        assistant.context_manager.assemble(prompt, Scope())
    assert "contexts" in holding(engine, "zeppelin")
    engine.pruner.prune("default", MONTH)
    clock.advance(days=8)
    engine.pruner.prune("default", MONTH)
    assert holding(engine, "zeppelin") == set()


def test_a_pruning_that_is_to_end_does_so_after_the_piece_at_hand(engine: MemoryEngine) -> None:
    say(engine, "c", 40, *WORDS * 4)
    engine.pruner.closing.set()
    told = engine.pruner.prune("default", MONTH)
    assert 0 < of_messages(told, "mark") == len(WORDS) * 4 - len(listed(engine, "c")) < len(WORDS) * 4


def test_a_piece_asks_no_more_of_many_conversations_than_of_one(engine: MemoryEngine) -> None:
    engine._parts.stop_background()
    say(engine, "one", 40, *WORDS)
    engine.consolidate()
    asked: list[str] = []
    with engine.database.write() as db:
        event.listen(db.engine, "before_cursor_execute", lambda *statement: asked.append(statement[2]))
    engine.pruner.prune("default", MONTH)
    of_one = len(asked)
    for word in WORDS:
        say(engine, word, 40, word)
    engine.consolidate()
    asked.clear()
    engine.pruner.prune("default", MONTH)
    assert of_one > 5
    assert len(asked) <= of_one
