"""Chat Completions passed on: the client gets the model's bytes as they are.

Where it names a conversation, memory is added and the turn is remembered; without one nothing is.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from assistant.chat_request import NAMES
from assistant.context_manager import ContextManager, Prompt
from assistant.errors import ModelUnreachable
from assistant.prompt_request import PromptRequest
from assistant.settings import Settings
from memory_engine import MemoryEngine, Message, NewMessage, RecallHit, Scope
from memory_engine.checks import check_name
from memory_engine.parsing import parse_message

_DEFAULT_URL = "https://api.openai.com/v1"
#: Tokens that memory may take in a request that is passed on, besides what the client sent.
MEMORY_TOKENS = 2_000
#: Headers of the model's server that the client is shown.
_SHOWN = ("content-type", "retry-after", "x-request-id", "openai-processing-ms", "openai-version")
#: Statuses after which the fallback model is asked, as long as nothing of an answer has come.
_FALLS_BACK = (404, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembering:
    """What is remembered of a request that names its conversation."""

    scope: Scope
    conversation_id: str
    manifest_id: str
    #: The evidence that was added, best first.
    recalled: tuple[RecallHit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A request as it goes on."""

    body: dict[str, Any]
    #: None where nothing is remembered.
    remembering: Remembering | None


class Passed:
    """The answer of the model's server, to be read once."""

    def __init__(self, response: httpx2.Response, stack: AsyncExitStack) -> None:
        self._response = response
        self._stack = stack
        self.status = response.status_code
        self.headers = {name: value for name, value in response.headers.items() if name in _SHOWN}

    async def read(self) -> AsyncIterator[bytes]:
        """Its bytes as they come.

        Raises:
            ModelUnreachable: the connection broke.
        """
        try:
            async for piece in self._response.aiter_raw():
                yield piece
        except httpx2.HTTPError as exc:
            raise ModelUnreachable("The connection to the model's server broke.") from exc
        finally:
            await self.close()

    async def close(self) -> None:
        """Let the connection go."""
        await self._stack.aclose()


class ChatProxy:
    """Passes requests on for one memory."""

    def __init__(self, engine: MemoryEngine, context_manager: ContextManager, settings: Settings) -> None:
        self._engine = engine
        self._context_manager = context_manager
        self._settings = settings

    def prepare(self, body: Mapping[str, Any], named: str | None, scope: Scope) -> Prepared:
        """Keep what is new of a request, add what is remembered to it, and take our own fields out.

        Args:
            body: as the client sent it; `check_read` has seen it.
            named: the conversation that a header names; `metadata` of the body may name it too.
            scope: whose memory it is.

        Raises:
            InvalidInput: a message cannot be kept; nothing was.
            ConversationNotFound: the thread, or another user's conversation, is not there.
        """
        forwarded, conversation_id = self._without_names(dict(body), named, scope)
        forwarded["model"] = self._settings.model_aliases.get(str(forwarded.get("model")), forwarded.get("model"))
        if conversation_id is None:
            return Prepared(body=forwarded, remembering=None)
        check_name(conversation_id, "conversation_id")
        sent = forwarded["messages"]
        said = self._keep(conversation_id, sent, scope)
        if said is None:  # nothing that a person said: there is nothing to recall for
            remembering = Remembering(scope=scope, conversation_id=conversation_id, manifest_id="", recalled=())
            return Prepared(body=forwarded, remembering=remembering)
        prompt = self._prompt(conversation_id, said, sent, scope)
        forwarded["messages"] = _with_memory(sent, prompt)
        remembering = Remembering(
            scope=scope, conversation_id=conversation_id, manifest_id=prompt.manifest_id, recalled=prompt.recalled
        )
        return Prepared(body=forwarded, remembering=remembering)

    async def forward(self, prepared: Prepared) -> Passed:
        """Ask the model's server, and the fallback model where the one that was asked is gone or fails.

        Raises:
            ModelUnreachable: the server does not answer.
        """
        passed = await self._asked(prepared.body)
        if passed.status in _FALLS_BACK and prepared.body.get("model") != self._settings.fallback_model:
            other = await self._asked({**prepared.body, "model": self._settings.fallback_model})
            if other.status == 200:
                await passed.close()
                return other
            await other.close()
        return passed

    async def models(self) -> Passed:
        """The models of the server.

        Raises:
            ModelUnreachable: it does not answer.
        """
        return await self._sent("GET", "/models", None)

    def remember_reply(self, remembering: Remembering, raw: bytes, *, streamed: bool) -> None:
        """Keep the reply that these bytes are; one that broke off as incomplete."""
        reply, complete = _of_stream(raw) if streamed else _of_body(raw)
        if reply is None:
            return
        metadata = {"manifest_id": remembering.manifest_id, **({} if complete else {"incomplete": True})}
        new = NewMessage(role="assistant", text=reply.get("content") or "", tool_calls=_calls(reply), metadata=metadata)
        if new.text.strip() or new.tool_calls:
            self._engine.remember(remembering.conversation_id, [new], scope=remembering.scope)

    def _without_names(
        self, body: dict[str, Any], named: str | None, scope: Scope
    ) -> tuple[dict[str, Any], str | None]:
        metadata = body.get("metadata")
        if isinstance(metadata, Mapping):
            if named is None and "conversation_id" in metadata:
                named = metadata["conversation_id"]
            if named is None and "thread_id" in metadata:
                named = self._engine.history.conversation_of(metadata["thread_id"], scope=scope)
            rest = {name: value for name, value in metadata.items() if name not in NAMES}
            body["metadata"] = rest
            if not rest:
                del body["metadata"]
        return body, named

    def _keep(self, conversation_id: str, sent: Sequence[Mapping[str, Any]], scope: Scope) -> Message | None:
        """Keep those of the messages that are new, and return the last that the person said."""
        given = [_said(message, number) for number, message in enumerate(sent) if message.get("role") in _KEPT]
        said = [self._engine.history.as_kept(message) for message in given]
        kept = self._engine.history.newest(conversation_id, len(said) + 1, scope=scope)
        new = said[_known(said, kept) :]
        if new:
            self._engine.remember(conversation_id, new, scope=scope)
        rows = self._engine.history.newest(conversation_id, len(said) + 1, scope=scope)
        return next((row for row in reversed(rows) if row.role == "user" and row.text.strip()), None)

    def _prompt(self, conversation_id: str, said: Message, sent: Sequence[Mapping[str, Any]], scope: Scope) -> Prompt:
        """What is remembered for what was said, without what the client sent itself."""
        request = PromptRequest(
            conversation_id=conversation_id, message=said.text, agent=None, message_id=said.message_id,
            before_seq=said.seq, token_budget=MEMORY_TOKENS + self._context_manager.counter.count(said.text),
        )  # fmt: skip
        gathered = self._context_manager.gather(request, scope)
        texts = {self._as_kept(_text(message)) for message in sent}
        parts = replace(
            gathered.parts,
            history=[unit for unit in gathered.parts.history if not texts.intersection(m.text for m in unit.messages)],
            hits=[hit for hit in gathered.parts.hits if hit.text not in texts],
        )
        return self._context_manager.pack(replace(gathered, parts=parts))

    def _as_kept(self, text: str) -> str:
        return self._engine.history.as_kept(NewMessage(role="user", text=text)).text

    async def _asked(self, body: Mapping[str, Any]) -> Passed:
        raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return await self._sent("POST", "/chat/completions", raw)

    async def _sent(self, method: str, path: str, raw: bytes | None) -> Passed:
        url = (self._settings.openai_base_url or _DEFAULT_URL).rstrip("/") + path
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self._settings.openai_api_key:
            headers["authorization"] = f"Bearer {self._settings.openai_api_key}"
        stack = AsyncExitStack()
        try:
            client = await stack.enter_async_context(
                httpx2.AsyncClient(timeout=self._settings.model_timeout, trust_env=False)
            )
            asked = client.build_request(method, url, content=raw, headers=headers)
            response = await client.send(asked, stream=True)
        except httpx2.HTTPError as exc:
            await stack.aclose()
            raise ModelUnreachable("No connection to the model's server.") from exc
        stack.push_async_callback(response.aclose)
        return Passed(response, stack)


#: Roles of a client's messages that are remembered; its system messages are instructions and its own affair.
_KEPT = ("user", "assistant", "tool")


def _said(message: Mapping[str, Any], number: int) -> NewMessage:
    known = {
        name: message[name] for name in ("role", "content", "name", "tool_calls", "tool_call_id") if message.get(name)
    }
    said = parse_message(known, f"messages[{number}]")
    return replace(said, recallable=False) if said.role == "tool" else said


def _known(said: Sequence[NewMessage], kept: Sequence[Message]) -> int:
    """How many of the client's messages are kept already: clients send the whole history with every request.

    It is the longest beginning of them that the conversation ends with. Where nothing fits, only what stands from the
    last thing that the person said on is new, or all of it in a conversation of which nothing is kept.
    """
    if not kept:
        return 0
    before = [(message.role, message.text) for message in kept]
    given = [(message.role, message.text) for message in said]
    for count in range(len(given), 0, -1):
        length = min(count, len(before))
        if given[count - length : count] == before[-length:]:
            return count
    users = [number for number, message in enumerate(said) if message.role == "user"]
    return users[-1] if users else len(said)


def _with_memory(sent: Sequence[Mapping[str, Any]], prompt: Prompt) -> list[dict[str, Any]]:
    """The client's messages with earlier turns after its instructions, and recalled text before what was said last."""
    remembered = prompt.messages[:-1]  # the last is what the person says, which the client sent itself
    block = [message for number, message in enumerate(remembered) if number == prompt.block]
    turns = [message for number, message in enumerate(remembered) if number != prompt.block]
    first = next((n for n, message in enumerate(sent) if message.get("role") not in ("system", "developer")), 0)
    last = max((n for n, message in enumerate(sent) if message.get("role") == "user"), default=first)
    return [*map(dict, sent[:first]), *turns, *map(dict, sent[first:last]), *block, *map(dict, sent[last:])]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping) and "text" in part)


def _calls(reply: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    return tuple(reply.get("tool_calls") or ()) or None


def _of_body(raw: bytes) -> tuple[dict[str, Any] | None, bool]:
    try:
        return dict(json.loads(raw)["choices"][0]["message"]), True
    except (ValueError, KeyError, IndexError, TypeError):
        return None, False


def _of_stream(raw: bytes) -> tuple[dict[str, Any] | None, bool]:
    """The first choice of a streamed reply, and whether it ended as it should."""
    text, calls, complete = "", dict[int, dict[str, Any]](), False
    for line in raw.decode("utf-8", "replace").splitlines():
        try:
            chunk = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            choices = [choice for choice in chunk.get("choices") or () if choice.get("index", 0) == 0]
        except (ValueError, AttributeError):  # [DONE], or a line that broke off
            continue
        for choice in choices:
            complete = complete or choice.get("finish_reason") is not None
            delta = choice.get("delta") or {}
            text += delta.get("content") or ""
            for piece in delta.get("tool_calls") or ():
                _add_piece(calls, piece)
    made = [calls[number] for number in sorted(calls)]
    return ({"content": text, "tool_calls": made} if text or made else None), complete


def _add_piece(calls: dict[int, dict[str, Any]], piece: Mapping[str, Any]) -> None:
    empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    call = calls.setdefault(piece.get("index", 0), empty)
    function = piece.get("function") or {}
    call["id"] = piece.get("id") or call["id"]
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
