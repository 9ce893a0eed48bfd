"""A store of many owners, each with unique words wherever something can be kept."""

import hashlib
import json
import random
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import update

from api.bootstrap import open_services
from api.keys import RIGHTS, NewKey
from api.server import use_one_thread
from api.services import Services
from assistant import PromptRequest, Settings
from assistant.storage import model_log, tool_log
from memory_engine import MemoryEngine, NewMessage, Page, Scope
from memory_engine.digests import Digests
from memory_engine.models import NoteSources, random_id, to_micros
from memory_engine.retention import Policy, Rule
from memory_engine.storage import store_settings, tables

#: In every canary, and in nothing else.
MARK = "zqx"
#: What the ids that were never given out have in its place.
ABSENT = "zqn"
_ID = re.compile(r"\b([a-z]+)_[A-Za-z0-9]{24}\b")
# Without a vowel no stemmer shortens it.
_LETTERS = "bcdfghjklmnpqrtvwxz"
_CANARY = re.compile(rf"(?:{MARK}|{MARK.title()})[{_LETTERS}]{{10}}")
#: What stands for an owner in the tables, and is made for each by itself.
_OF_OWNERS = ("namespaces", "scopes", "retention_policies")
#: What stands for what was erased.
_OF_RECEIPTS = ("erasure_receipts", "erased_names")
#: Of what an agent of this name said, a policy lets go.
_PRUNED = "archivist"


def canary() -> str:
    return MARK + "".join(random.SystemRandom().choices(_LETTERS, k=10))


@dataclass
class Owner:
    """Whose memory it is, and every id in it, by kind."""

    scope: Scope
    ids: dict[str, list[str]] = field(default_factory=dict, repr=False)


def absent(name: str) -> str:
    """An id of the same shape that nothing has."""
    if MARK in name:
        return name.replace(MARK, ABSENT)
    prefix = name.rpartition("_")[0]
    return f"{prefix}_{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def masked(text: str) -> str:
    """The text without what differs by chance: ids given out meanwhile, times, and secrets."""
    text = re.sub(r"[\d,.]+ MB free", "… MB free", text)
    text = re.sub(r"mek_[\w-]+", "mek_…", text)  # first, because what follows an underscore may hold a hyphen
    text = _ID.sub(r"\1_…", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)", "<time>", text)
    return re.sub(r'"(took_ms|created|tokens)":\s*[\d.]+', r'"\1":0', text)


def plant(settings: Settings, owners: list[Owner]) -> None:
    """Fill the store with something of every kind for every owner.

    What is the first one's is made by the engine; the others' rows are copies of it with words and ids of their own.
    """
    use_one_thread()
    services = open_services(settings)
    try:
        first, *others = owners
        _speak(services, first)
        _join(services, first)
        _fork(services, first)
        services.engine.consolidate()
        _derive(services, first)
        _keep(services, first)
        _copy(services.engine, first, others)
        for owner in owners:
            _settle(services, owner)
    finally:
        services.close()


def _speak(services: Services, owner: Owner) -> None:
    engine, scope, name = services.engine, owner.scope, f"trip-{canary()}"
    call = {"id": f"call_{canary()}", "type": "function", "function": {"name": canary(), "arguments": canary()}}
    said = [
        {"role": "user", "content": f"The password of the safe is {canary()}.", "name": canary()},
        {"role": "user", "content": f"I live in {canary().title()}.", "metadata": {canary(): canary()}},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": canary(), "tool_call_id": call["id"], "id": f"own-{canary()}"},
        {"role": "assistant", "content": f"The safe stands in the cellar of {canary()}."},
    ]
    kept = engine.remember(name, said, scope=scope, agent="pm")
    sources = NoteSources(message_ids=kept.message_ids[1:3])
    note = engine.notes.put(scope, f"note-{canary()}", f"Always mention {canary()}.", by="agent pm", sources=sources)
    logged = {
        "log_id": random_id("tool"), "conversation_id": name, "message_id": kept.message_ids[2], "call_id": canary(),
        "tool": canary(), "agent": "pm", "arguments": canary(), "attempt": 1, "output": canary(),
        "started_at": to_micros(engine.clock.now()),
    }  # fmt: skip
    tool_log.start_call(engine, scope, logged)
    owner.ids = {
        "conversation": [name],
        "message": list(kept.message_ids),
        "thread": [kept.thread_id],
        "note": [note.name],
        "tool_call": [logged["log_id"]],
    }


def _fork(services: Services, owner: Owner) -> None:
    """A conversation with an answer that was regenerated."""
    engine, scope, name = services.engine, owner.scope, f"fork-{canary()}"
    asked = NewMessage(role="user", text=f"Who has the key of {canary()}?")
    for _ in range(2):
        followed = engine.following.follow(name, [asked], scope=scope)
        answer = NewMessage(role="assistant", text=f"It is with {canary()}.")
        engine.following.answer(name, [answer], after=followed.last, scope=scope)
    rows, _ = engine.history.messages(name, Page(limit=9), all_branches=True, scope=scope)
    owner.ids["conversation"].append(name)
    owner.ids["message"] += [row.message_id for row in rows]
    owner.ids["thread"].append(rows[0].thread_id)


def _join(services: Services, owner: Owner) -> None:
    """A second conversation, linked with the first, and an edit."""
    engine, scope, names = services.engine, owner.scope, owner.ids["conversation"]
    names.append(f"house-{canary()}")
    engine.remember(
        names[1],
        [{"role": "user", "content": f"The safe came from {canary()}, see {owner.ids['message'][0]}."}],
        scope=scope,
    )
    owner.ids["link"] = [engine.links.add(scope, names[0], names[1], canary(), 0.9).link_id]
    first = owner.ids["message"][0]
    engine.edit(first, {"content": f"The password of the safe was {canary()}."}, scope=scope)


def _derive(services: Services, owner: Owner) -> None:
    engine, scope, names = services.engine, owner.scope, owner.ids["conversation"]
    asked = PromptRequest(conversation_id=names[0], message=f"Where is the safe of {canary()}?", agent="pm")
    prompt = services.assistant.context_manager.assemble(asked, scope)
    counts = dict.fromkeys(("prompt_tokens", "completion_tokens", "history_tokens", "latency", "cost"), 7)
    spent = {
        **counts, "log_id": random_id("model"), "conversation_id": names[0], "message_id": owner.ids["message"][0],
        "agent": "pm", "model": canary(), "started_at": to_micros(engine.clock.now()),
    }  # fmt: skip
    model_log.save_calls(engine, scope, [spent])
    summed_up = engine.history.summaries(names[0], scope=scope)
    assert {"segment", "conversation", "group"} <= {summary.level for summary in summed_up}
    owner.ids |= {
        "context": [prompt.manifest_id],
        "pattern": [pattern.pattern_id for pattern in engine.patterns.of(scope, everything=True)],
        "summary": [summary.summary_id for summary in summed_up],
    }
    assert owner.ids["pattern"]


def _keep(services: Services, owner: Owner) -> None:
    """What is kept out of recall, pinned, on hold, pruned, and what is to be erased."""
    engine, scope, ids = services.engine, owner.scope, owner.ids
    for place, agent in (("attic", "pm"), ("archive", _PRUNED), ("bin", "pm")):
        name = f"{place}-{canary()}"
        said = [{"role": "user", "content": f"The safe in the {place} is {canary()}."}]
        ids["message"] += engine.remember(name, said, scope=scope, agent=agent).message_ids
        ids["conversation"].append(name)
    engine.quarantine.hold_message(ids["message"][-3], reason=canary(), scope=scope)
    engine.quarantine.hold_conversation(ids["conversation"][-3], reason=canary(), scope=scope)
    engine.pins.pin(ids["message"][1], scope=scope)
    engine.pins.hold(ids["conversation"][1], scope=scope)
    quoting = NewMessage(role="assistant", text=f"The safe is {canary()}.", quotes=(ids["message"][0],))
    ids["message"] += engine.remember(ids["conversation"][0], [quoting], scope=scope).message_ids
    erased = engine.forgetting.conversation(ids["conversation"][-1], scope=scope, by=canary())
    assert engine.forgetting.prove(erased.receipt_id, namespace=scope.namespace).state == "done"
    ids["receipt"] = [erased.receipt_id]
    everything = Policy(rules=(Rule(stratum="messages", agent=_PRUNED, keep_newest=0),))
    assert [share.rows for share in engine.pruner.prune(scope.namespace, everything)] == [1]


def _settle(services: Services, owner: Owner) -> None:
    """A key and a policy."""
    engine, scope, ids = services.engine, owner.scope, owner.ids
    made, _secret = services.keys.create(NewKey(namespace=scope.namespace, name=canary(), rights=RIGHTS))
    if MARK in scope.namespace:
        rule = Rule(stratum="messages", agent=canary(), older_than_days=1)
        engine.pruner.write_policy(scope.namespace, Policy(rules=(rule,)))
        ids["namespace"] = [scope.namespace]
    ids |= {"key": [made.key_id], "user": [scope.user] if scope.user else []}


def _copy(engine: MemoryEngine, first: Owner, others: list[Owner]) -> None:
    with engine.database.write() as db:
        every = {table.name: table for table in tables.all_tables(db)}
        rows = {
            name: [
                dict(zip(table.columns.keys(), row, strict=True))
                for some in tables.read_rows(db, table)
                for row in some
            ]
            for name, table in every.items()
            if name in _OF_RECEIPTS or ("namespace_id" in table.columns and name not in _OF_OWNERS)
        }
        whole = json.dumps({"ids": first.ids, "rows": rows})
        digests = Digests(bytes.fromhex(store_settings.setting(db, "erasure_key") or ""))
        for owner in others:
            key = engine.ensure_scope(db, owner.scope)
            owner.ids, renamed = _renamed(whole)
            place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
            renamed["erasure_receipts"][0] |= {"owner": digests.of_namespace(owner.scope.namespace), "scopes": []}
            names = [("message", owner.ids["message"][-2]), ("conversation", owner.ids["conversation"][-1])]
            renamed["erased_names"] = [
                {"digest": digests.of_name(owner.scope, *name), "receipt_id": owner.ids["receipt"][0]} for name in names
            ]
            for name, copies in renamed.items():
                columns = every[name].columns.keys()
                placed = [[(copy | place)[column] for column in columns] for copy in copies]
                for _ in tables.write_rows(db, every[name], columns, [placed]):
                    pass
            here = (every["scopes"].c[column] == value for column, value in place.items())
            db.execute(update(every["scopes"]).where(*here).values(last_seq=100, last_change=100))


def _renamed(whole: str) -> tuple[dict[str, list[str]], dict[str, list[dict[str, Any]]]]:
    """The ids and the rows of the JSON text, with another canary and another given id for each in it."""
    new: dict[str, str] = {}

    def other_canary(found: re.Match[str]) -> str:
        fresh = new.setdefault(found[0].lower(), canary())
        return fresh if found[0].islower() else fresh.title()

    def other_id(found: re.Match[str]) -> str:
        return new.setdefault(found[0], f"{found[1]}_{secrets.token_hex(12)}")

    renamed = json.loads(_ID.sub(other_id, _CANARY.sub(other_canary, whole)))
    return renamed["ids"], renamed["rows"]
