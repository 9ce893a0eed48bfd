"""A store of many owners, each with unique words wherever something can be kept."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from api.bootstrap import open_services
from api.keys import RIGHTS, NewKey
from api.server import use_one_thread
from api.services import Services
from assistant import PromptRequest, Settings
from assistant.storage import model_log, tool_log
from memory_engine import Scope
from memory_engine.models import random_id, to_micros

#: In every canary, and in nothing else.
MARK = "zqx"
#: What the ids that were never given out have in its place.
ABSENT = "zqn"
_ID = re.compile(r"\b([a-z]+)_[A-Za-z0-9]{24}\b")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def canary() -> str:
    return MARK + "".join(secrets.choice(_LETTERS) for _ in range(10))


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


def plant(data_dir: Path, owners: list[Owner], *, deep: int) -> None:
    """Fill the store with messages, metadata, names, notes and calls of tools.

    The first `deep` owners also have links, patterns, summaries, edits, prompts, costs and keys, which take longer.
    """
    use_one_thread()
    services = open_services(Settings(data_dir=data_dir))
    try:
        for owner in owners[:deep]:
            _speak(services, owner)
            _join(services, owner)
        services.engine.consolidate()
        for owner in owners[:deep]:
            _derive(services, owner)
        for owner in owners[deep:]:
            _speak(services, owner)
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
    note = engine.notes.put(scope, f"note-{canary()}", f"Always mention {canary()}.")
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
        "user": [scope.user] if scope.user else [],
        "namespace": [scope.namespace] if MARK in scope.namespace else [],
    }


def _join(services: Services, owner: Owner) -> None:
    """A second conversation, linked with the first, and an edit."""
    engine, scope, names = services.engine, owner.scope, owner.ids["conversation"]
    names.append(f"house-{canary()}")
    engine.remember(names[1], [{"role": "user", "content": f"The safe came from {canary()}."}], scope=scope)
    owner.ids["link"] = [engine.links.add(scope, names[0], names[1], canary(), 0.5).link_id]
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
    made, _secret = services.keys.create(NewKey(namespace=scope.namespace, name=canary(), rights=RIGHTS))
    owner.ids |= {
        "context": [prompt.manifest_id],
        "key": [made.key_id],
        "pattern": [pattern.pattern_id for pattern in engine.patterns.of(scope, everything=True)],
        "summary": [found.summary_id for found in engine.history.summaries(names[0], scope=scope)],
    }
    assert owner.ids["pattern"]
    assert owner.ids["summary"]
