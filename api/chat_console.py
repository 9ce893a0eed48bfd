"""A conversation in the terminal: replies as they come, who speaks, and what was remembered for it."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.console import Console
from rich.markup import escape

from api.console import print_prompt
from memory_engine.checks import check_name

if TYPE_CHECKING:
    from api.client import Client

HELP = """\
/recall        what was recalled for the last reply
/why           why each part of its prompt is there, and what was left out
/prompt        the prompt that was sent
/agent NAME    who answers from now on; without a name, whom the conversation belongs to
/forget        erase your last message and all that answered it; takes nothing after it
/help  /quit"""
#: What was said in the conversation before can be called up again by the arrow keys: so many of it.
_EARLIER = 100

_out = Console()


class ChatConsole:
    """One conversation with the service."""

    def __init__(self, client: "Client", conversation: str, agent: str | None) -> None:
        self._client = client
        self._path = f"/v1/memory/conversations/{quote(conversation, safe='')}/messages"
        self._say = f"/v1/assistant/conversations/{quote(conversation, safe='')}/messages"
        self._agent = agent
        self._last: dict[str, Any] | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "/recall": lambda _: self._recall(),
            "/why": lambda _: self._why(),
            "/prompt": lambda _: self._prompt(),
            "/agent": self._switch,
            "/forget": self._forget,
            "/help": lambda _: _out.print(HELP, highlight=False),
        }

    def run(self) -> None:
        """Talk until the person leaves."""
        from api.client import ServiceError

        self._offer_earlier()
        while (line := _line()) is not None and line != "/quit":
            command, _, rest = line.partition(" ")
            try:
                if command in self._commands:
                    self._commands[command](rest.strip())
                elif line.startswith("/"):
                    _out.print(f"There is no command {escape(command)}.\n{HELP}", highlight=False)
                elif line:
                    self._answer(line)
            except ServiceError as exc:
                _out.print(f"[red]{escape(str(exc))}[/red]", highlight=False)

    def _answer(self, line: str) -> None:
        body = {"message": line, "agent": self._agent, "stream": True}
        told = False
        for event, data in self._client.stream(self._say, body):
            if event == "delta":
                _out.print(
                    data["text"] if told else f"{self._speaker()}: {data['text']}",
                    end="",
                    markup=False,
                    highlight=False,
                )
                told = True
            elif event == "tool_call":
                outcome = "" if data["error"] is None else f" ({data['error']})"
                _out.print(f"{'' if not told else chr(10)}[dim]{escape(data['name'])}{outcome}[/dim]", highlight=False)
                told = False
            elif event == "done":
                self._last = data
        if told:
            _out.print()
        if self._last is not None and self._last["agent"] != self._speaker():
            _out.print(f"[dim]{self._last['agent']} goes on[/dim]", highlight=False)

    def _speaker(self) -> str:
        """Who is thought to answer: whom the person chose, who spoke last, or the assistant."""
        return self._agent or (self._last["agent"] if self._last else "assistant")

    def _recall(self) -> None:
        if (prompt := self._kept_prompt()) is not None:
            block = prompt["manifest"].get("block")
            shown = "Nothing was recalled." if block is None else _block_of(prompt["messages"], block)
            _out.print(shown, markup=False, highlight=False)

    def _prompt(self) -> None:
        if (prompt := self._kept_prompt()) is not None:
            print_prompt(prompt)

    def _why(self) -> None:
        if (prompt := self._kept_prompt()) is None:
            return
        manifest = prompt["manifest"]
        for item in manifest["items"]:
            _out.print(
                f"{item['kind']:9} {item['tokens']:5} tokens  {_reason(item['why'])}", markup=False, highlight=False
            )
        left = len(manifest["left_out"])
        _out.print(f"{prompt['tokens']} of {manifest['token_budget']} tokens; {left} left out", highlight=False)

    def _kept_prompt(self) -> dict[str, Any] | None:
        if self._last is None:
            _out.print("Nothing was said yet.")
            return None
        prompt: dict[str, Any] = self._client.call("GET", f"/v1/memory/contexts/{self._last['manifest_id']}")
        return prompt

    def _switch(self, name: str) -> None:
        known = [row["name"] for row in self._client.call("GET", "/v1/assistant/agents")["data"]]
        if name and name not in known:
            _out.print(f"There is no agent {escape(name)}; there are: {', '.join(known)}.", highlight=False)
            return
        self._agent = name or None

    def _forget(self, rest: str) -> None:
        if rest:
            _out.print("/forget erases your last message and takes nothing after it. Nothing was erased.")
            return
        rows = self._client.call("GET", f"{self._path}?limit=100")["data"]
        newest = next((n for n, row in enumerate(rows) if row["role"] == "user"), None)
        if newest is None:
            _out.print("Nothing was said yet.")
            return
        after = f" and the {newest} newer {'message' if newest == 1 else 'messages'}" if newest else ""
        _out.print(f"Erase “{escape(rows[newest]['text'])}”{after}? This cannot be undone. (yes/no)")
        if _line("") == "yes":
            ids = [row["message_id"] for row in rows[: newest + 1]]
            self._client.call("POST", "/v1/memory/erase", {"message_ids": ids})
            self._last = None
            _out.print(f"{len(ids)} messages are erased.", highlight=False)

    def _offer_earlier(self) -> None:
        """What the person said before, for the arrow keys; no file is written that could outlive an erasure."""
        from api.client import ServiceError

        try:
            import readline
        except ImportError:  # not on every system
            return
        try:
            rows = self._client.call("GET", f"{self._path}?limit={_EARLIER}")["data"]
        except ServiceError:  # the conversation is new
            return
        for row in reversed(rows):
            if row["role"] == "user" and isinstance(row["content"], str):
                readline.add_history(row["content"])


def chat(client: "Client", conversation: str | None, agent: str | None) -> None:
    """Talk until the person leaves.

    Raises:
        InvalidInput: the conversation's id cannot be taken.
        AgentNotFound: there is no such agent.
    """
    from assistant.errors import AgentNotFound

    name = f"chat-{secrets.token_hex(3)}" if conversation is None else check_name(conversation, "conversation")
    known = [row["name"] for row in client.call("GET", "/v1/assistant/agents")["data"]]
    if agent is not None and agent not in known:
        raise AgentNotFound(f"There is no agent {agent!r}; there are: {', '.join(known)}.", param="agent")
    _out.print(f"Conversation {escape(name)}. /help lists the commands.", highlight=False)
    ChatConsole(client, name, agent).run()


def _line(prompt: str = "[bold]you[/bold]: ") -> str | None:
    try:
        return _out.input(prompt).strip()
    except EOFError:
        return None


def _reason(why: Any) -> str:
    if isinstance(why, str):
        return why
    words = ", ".join(why.get("words") or ()) or "by its meaning"
    return f"rank {why['rank']}, score {why['score']:.2f}, {words}"


def _block_of(messages: list[dict[str, Any]], block: dict[str, int]) -> str:
    """The block of recalled text in a prompt's messages."""
    content = messages[block["message"]]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    return str(text[block["start"] : block["end"]])
