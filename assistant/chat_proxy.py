"""Chat Completions passed on with memory: what the client gets is the model server's answer, whatever the memory does.

Where a request names a conversation, its messages are stored, what is recalled is added to its newest user message, and
the answer is stored after it. Nothing that goes wrong with that costs the client its answer.
"""

import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog

from assistant.chat_request import ChatRequest
from assistant.context_manager import ContextManager, Prompt
from assistant.costs import Caps
from assistant.errors import PriceUnknown, SpendCapReached
from assistant.ledger import Ledger, ProxiedCall
from assistant.model_names import ModelNames
from assistant.model_reply import ModelReply, StreamedReply
from assistant.model_server import Answered, Candidates, ModelServer, as_bytes
from assistant.packing import Block, with_block
from assistant.prompt_request import PromptRequest
from assistant.settings import Settings
from assistant.storage.contexts import newest_for
from assistant.token_counter import count_request
from assistant.units import units_of, whole_turns
from memory_engine import MemoryEngine, NewMessage, RecallHit, Scope
from memory_engine.alignment import plain
from memory_engine.errors import ConversationNotFound, StoreError
from memory_engine.following import Followed
from memory_engine.lenient_parsing import Notice, lenient_message

T = TypeVar("T")

#: Tokens that memory may take in a request that is passed on, besides what the client sent.
MEMORY_TOKENS = 2_000
#: Stored messages that are considered for what stands before a client's window.
_BEFORE = 200
#: The client's newest messages that are considered for the memory; all of them go on to the model.
_CONSIDERED = 2_000
#: Roles of the client's instructions, which are its own affair and are not stored.
_INSTRUCTIONS = ("system", "developer")
_OK = 200
#: Seconds between two log lines of one code: a full disk must not fill the log.
_LOG_SECONDS = 1.0
_log = structlog.get_logger("memory_engine.proxy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembering:
    """Where the answer to a request is stored."""

    scope: Scope
    conversation_id: str
    #: The message that it comes after; None where none of the client's was stored.
    after: str | None
    manifest_id: str = ""
    #: The evidence that was added, best first.
    recalled: tuple[RecallHit, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A request as it goes on."""

    request: ChatRequest
    scope: Scope
    changed: bytes
    #: The request without memory, where it was added; None where nothing was.
    plain: bytes | None = None
    #: None where the answer is not stored.
    remembering: Remembering | None = None
    #: What is known not to be stored, and what went wrong, as codes.
    notices: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    """The client's messages as they can be stored."""

    messages: Sequence[NewMessage]
    #: The number of each in the request.
    numbers: Sequence[int]


@dataclass(kw_only=True, slots=True)
class Memories:
    """What is being found out for one request."""

    notices: set[str] = field(default_factory=set)
    remembering: Remembering | None = None
    messages: list[Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProxyParts:
    """What the proxy works with."""

    engine: MemoryEngine
    settings: Settings
    context_manager: ContextManager
    ledger: Ledger
    caps: Caps
    names: ModelNames


class ChatProxy:
    """Passes requests on for one memory."""

    def __init__(self, parts: ProxyParts) -> None:
        self._engine = parts.engine
        self._context_manager = parts.context_manager
        self._ledger = parts.ledger
        self._settings = parts.settings
        self._caps = parts.caps
        self._names = parts.names
        self.server = ModelServer(parts.settings)
        #: How often each thing went wrong since the start, by code.
        self.failures: Counter[str] = Counter()
        #: When each was logged last (`time.monotonic`).
        self._logged: dict[str, float] = {}

    @property
    def has_caps(self) -> bool:
        """Whether a call has to be within spend caps."""
        return self._caps.are_set

    async def candidates(self, request: ChatRequest) -> Candidates:
        """Return the models that may answer a request, by the names that the server knows."""
        named = request.body.get("model")
        model = await self._names.called(named) if isinstance(named, str) else ""
        fallback = await self._names.called(self._settings.fallback_model)
        replacement = self._names.replacement(model)
        return Candidates(model=model, replacement=replacement, fallback=fallback if fallback != model else None)

    def within_caps(self, prepared: Prepared, candidates: Candidates) -> Candidates:
        """Return the candidates that may be asked.

        Raises:
            SpendCapReached: the call of the model itself would go over a cap.
            PriceUnknown: a cap is set, and the model itself has no price.
            StoreError: what was spent cannot be read.
        """
        tokens = count_request(self._context_manager.counter, prepared.changed)
        self._caps.check(prepared.scope, candidates.model, tokens, 0)

        def allowed(model: str | None) -> str | None:
            with suppress(SpendCapReached, PriceUnknown):
                if model is not None:
                    self._caps.check(prepared.scope, model, tokens, 0)
                return model
            return None

        return replace(candidates, replacement=allowed(candidates.replacement), fallback=allowed(candidates.fallback))

    def prepare(self, request: ChatRequest, scope: Scope, model: str) -> Prepared:
        """Store what is new of a request, and add what is remembered to it; `model` is the name to call.

        Raises:
            ConversationNotFound: the thread, or another user's conversation, is not there.
        """
        found = Memories(notices=set(request.notices))
        if request.is_remembered:
            self._guarded("not_stored", found, lambda: self._remember(request, scope, found))
        return _prepared(request, scope, model, found)

    def without_memory(self, request: ChatRequest, scope: Scope, model: str, notice: str) -> Prepared:
        """The request as it goes on where the memory takes too long."""
        self.failures[notice] += 1
        return _prepared(request, scope, model, Memories(notices={*request.notices, notice}))

    def store_answer(self, prepared: Prepared, reply: ModelReply) -> set[str]:
        """Store the answers that a reply gives; one that broke off as incomplete. Returns what went wrong, as codes."""
        remembering, found = prepared.remembering, Memories()
        if remembering is None:
            return set()
        notices: set[Notice] = set()
        about = {"manifest_id": remembering.manifest_id}
        given = [choice.stored(notices, about) for choice in reply.choices]
        answers = [answer for answer in given if answer is not None]
        found.notices |= notices
        for notice in notices:
            self.failures[notice] += 1
        if answers:
            self._guarded("answer_not_stored", found, lambda: self._answer(remembering, answers))
        return found.notices

    def note_call(self, prepared: Prepared, model: str, reply: ModelReply, seconds: float) -> None:
        """Put a call into the cost account; tokens are counted here where the server does not say them."""
        call = ProxiedCall(
            conversation_id=prepared.remembering.conversation_id if prepared.remembering else "",
            message_id=(prepared.remembering.after or "") if prepared.remembering else "",
            model=model, seconds=seconds, usage=reply.usage, prompt=prepared.changed,
            answer=json.dumps([choice.message for choice in reply.choices], ensure_ascii=False, default=str),
        )  # fmt: skip
        self._guarded("cost_not_noted", Memories(), lambda: self._ledger.note_proxied(prepared.scope, call))

    def _guarded(self, code: str, found: Memories, work: Callable[[], None]) -> None:
        """Do what must not cost the client its answer: whatever goes wrong is noticed, counted and logged."""
        try:
            work()
        except ConversationNotFound:
            raise
        except Exception as exc:  # noqa: BLE001  (the answer goes on whatever happens here)
            code = "store_unavailable" if isinstance(exc, StoreError) else code
            found.notices.add(code)
            self.failed(code, exc)

    def count(self, code: str) -> set[str]:
        """Count what went wrong beside an answer, and return it."""
        self.failures[code] += 1
        return {code}

    def failed(self, code: str, exc: Exception) -> None:
        """Count what went wrong beside an answer, and log it, at most once a second for each code."""
        self.failures[code] += 1
        now = time.monotonic()
        if now - self._logged.get(code, -_LOG_SECONDS) < _LOG_SECONDS:
            return
        self._logged[code] = now
        # The error's own words may quote a message.
        places = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(exc.__traceback__)[-4:]]
        _log.warning(
            "memory failed for a chat completion", code=code, times=self.failures[code], error=type(exc).__name__,
            places=places,
        )  # fmt: skip

    def _remember(self, request: ChatRequest, scope: Scope, found: Memories) -> None:
        conversation_id = request.conversation_id
        if conversation_id is None:
            conversation_id = self._engine.history.conversation_of(str(request.thread_id), scope=scope)
        sent = _storable(request.body["messages"], found.notices)
        if not sent.messages:
            self._engine.history.current_agent(conversation_id, scope=scope)  # another user's is not there
            found.remembering = Remembering(scope=scope, conversation_id=conversation_id, after=None)
            return
        # What stands before the messages that are considered was sent, too, and is not put before them again.
        whose = "client" if "too_many_messages" in found.notices else request.whose
        followed = self._engine.following.follow(conversation_id, sent.messages, whose=whose, scope=scope)
        found.remembering = Remembering(scope=scope, conversation_id=conversation_id, after=followed.last)
        asked = _newest_user(request.body["messages"])
        if followed.said is not None and asked == _asked_number(sent) and followed.said.text.strip():
            self._guarded("not_recalled", found, lambda: self._add_memory(request, sent, followed, found))

    def _add_memory(self, request: ChatRequest, sent: _Sent, followed: Followed, found: Memories) -> None:
        """Add stored turns and recalled text to the client's messages."""
        messages, remembering = request.body["messages"], found.remembering
        assert followed.said is not None and remembering is not None  # noqa: PT018
        is_answering_tools = _newest_user(messages) != len(messages) - 1
        earlier = newest_for(self._engine, remembering.scope, followed.said) if is_answering_tools else None
        if earlier is not None:  # the same turn goes on, with the prompt that it began with
            remembered, block = earlier.messages, earlier.block
            found.remembering = replace(remembering, manifest_id=earlier.context_id)
        else:
            prompt = self._prompt(sent, followed, remembering)
            remembered, block = prompt.messages, prompt.block
            found.remembering = replace(remembering, manifest_id=prompt.manifest_id, recalled=prompt.recalled)
        found.messages = _with_memory(messages, remembered, block)

    def _prompt(self, sent: _Sent, followed: Followed, remembering: Remembering) -> Prompt:
        """What is remembered for what was said, without what the client sent itself."""
        assert followed.said is not None
        said = followed.said
        request = PromptRequest(
            conversation_id=remembering.conversation_id, message=said.text, agent=None, message_id=said.message_id,
            before_seq=said.seq, token_budget=MEMORY_TOKENS + self._context_manager.counter.count(said.text),
            history=followed.before[-_BEFORE:],
        )  # fmt: skip
        gathered = self._context_manager.gather(request, remembering.scope)
        as_kept = self._engine.history.as_kept  # recalled texts are without their secrets
        texts = {plain(as_kept(message).text) for message in sent.messages}
        hits = [hit for hit in gathered.parts.hits if plain(hit.text) not in texts and followed.may_show(hit)]
        units, unusable = units_of(request.history or ())
        turns = whole_turns(units, before_assistant=sent.messages[0].role == "assistant")
        parts = replace(gathered.parts, history=turns, hits=hits, unusable=unusable, without_gaps=True)
        return self._context_manager.pack(replace(gathered, parts=parts))

    def _answer(self, remembering: Remembering, answers: Sequence[NewMessage]) -> None:
        conversation_id, after = remembering.conversation_id, remembering.after
        self._engine.following.answer(conversation_id, answers, after=after, scope=remembering.scope)


class Heard:
    """What is heard of one answer while it is passed on. Nothing of it is an error."""

    def __init__(self, proxy: ChatProxy, prepared: Prepared, answered: Answered, started: float) -> None:
        """Take the request, the answer, and when it was asked (`time.monotonic`)."""
        self._proxy = proxy
        self._prepared = prepared
        self._answered = answered
        self._started = started
        self._streamed: StreamedReply | None = StreamedReply() if answered.passed.status == _OK else None
        self._read = ModelReply()

    def feed(self, piece: bytes) -> bool:
        """Take bytes of a stream, and say whether it has ended with them."""
        if self._streamed is None:
            return False
        try:
            self._streamed.feed(piece)
        except Exception as exc:  # noqa: BLE001  (the bytes go on to the client, whatever they are)
            self._proxy.failed("answer_not_read", exc)
            self._read, self._streamed = self._streamed.reply, None
            return False
        return self._streamed.has_ended

    def stored(self) -> set[str]:
        """Store what a stream was, and return what went wrong, as codes."""
        if self._streamed is not None:
            self._streamed.end()
            self._read = self._streamed.reply
        return self._kept()

    def whole(self, raw: bytes) -> set[str]:
        """Store an answer that came whole, and return what went wrong, as codes."""
        if self._answered.passed.status == _OK:
            self._read = ModelReply.of_body(raw)
        return self._kept()

    def _kept(self) -> set[str]:
        if self._answered.passed.status != _OK:
            return set()
        seconds = time.monotonic() - self._started
        if self._read.choices:
            failed = self._proxy.store_answer(self._prepared, self._read)
        else:
            failed = set() if self._prepared.remembering is None else self._proxy.count("answer_not_read")
        # What cannot be read was answered all the same, and costs at least its prompt.
        self._proxy.note_call(self._prepared, self._answered.model, self._read, seconds)
        return failed


def _prepared(request: ChatRequest, scope: Scope, model: str, found: Memories) -> Prepared:
    named = request.body.get("model")
    body = {**request.body, "model": model} if isinstance(named, str) and named != model else request.body
    is_same = body is request.body and not request.is_changed
    bare = request.raw if is_same else as_bytes(body)
    with_memory = None if found.messages is None else as_bytes({**body, "messages": found.messages})
    return Prepared(
        request=request, scope=scope, changed=with_memory or bare, plain=bare if with_memory else None,
        remembering=found.remembering, notices=frozenset(found.notices),
    )  # fmt: skip


def _storable(messages: Sequence[Any], notices: set[str]) -> _Sent:
    found, numbers, wrong = list[NewMessage](), list[int](), set[Notice]()
    first = max(0, len(messages) - _CONSIDERED)
    if first:
        notices.add("too_many_messages")
    for number, raw in enumerate(messages[first:], first):
        if isinstance(raw, Mapping) and raw.get("role") in _INSTRUCTIONS:
            continue
        message = lenient_message(raw, wrong)
        if message is not None:
            # What a tool says is not remembered as said: it may be a record of it, or anything.
            found.append(replace(message, recallable=False) if message.role == "tool" else message)
            numbers.append(number)
    notices |= wrong
    return _Sent(messages=found, numbers=numbers)


def _newest_user(messages: Sequence[Any]) -> int | None:
    """The number of the newest message of a user, whether or not it can be stored."""
    users = [n for n, raw in enumerate(messages) if isinstance(raw, Mapping) and raw.get("role") == "user"]
    return users[-1] if users else None


def _asked_number(sent: _Sent) -> int | None:
    """The number in the request of the newest message of a user that can be stored."""
    pairs = zip(sent.numbers, sent.messages, strict=True)
    users = [number for number, message in pairs if message.role == "user"]
    return users[-1] if users else None


def _with_memory(sent: Sequence[Any], remembered: Sequence[dict[str, Any]], block: Block | None) -> list[Any] | None:
    """The client's messages with stored turns after its instructions, and the block in its newest user message.

    None where nothing is added.
    """
    turns = remembered[:-1]  # the last is what the user says, which the client sent itself
    asked = _newest_user(sent)
    if asked is None or (block is None and not turns):
        return None
    newest = sent[asked]
    if block is not None and isinstance(newest.get("content"), str | list):
        text = remembered[block.message]["content"][block.start : block.end]
        newest = with_block(newest, text)
    first = next(n for n, raw in enumerate(sent) if not (isinstance(raw, Mapping) and raw.get("role") in _INSTRUCTIONS))
    return [*sent[:first], *turns, *sent[first:asked], newest, *sent[asked + 1 :]]
