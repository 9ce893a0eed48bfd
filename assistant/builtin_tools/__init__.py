"""Tools that come with the assistant; each agent's file says which it may use."""

from collections.abc import Mapping
from typing import Any

from assistant.agents import Agents
from assistant.lanes import Lane
from assistant.settings import Settings
from assistant.tool_call_handler import ToolResult
from assistant.tools import ToolContext, ToolRegistry
from memory_engine import MemoryEngine

#: The tool whose output repeats messages.
SEARCH_MEMORY = "search_memory"
#: The tool whose calls hold the words of notes.
WRITE_NOTE = "write_note"


def add_builtin_tools(
    registry: ToolRegistry, engine: MemoryEngine, agents: Agents, settings: Settings, compute: Lane
) -> None:
    """Register the tools that the settings allow, but for names that are taken by tools of one's own.

    Raises:
        SettingsInvalid: a host pattern or a database's URL cannot be taken.
    """
    from assistant.builtin_tools.search_memory import SearchMemory
    from assistant.builtin_tools.switch_agent import SwitchAgent
    from assistant.builtin_tools.write_note import WriteNote

    own = registry.names
    tools: dict[str, Any] = {
        SEARCH_MEMORY: SearchMemory(engine, compute),
        "switch_agent": SwitchAgent(agents),
        WRITE_NOTE: WriteNote(engine),
    }
    if settings.http_hosts:
        from assistant.builtin_tools.http_request import HttpRequest

        tools["http_request"] = HttpRequest(allowed_hosts=settings.http_hosts, allow_private=settings.http_private)
    if settings.sql_url is not None:
        from assistant.builtin_tools.sql_query import SqlQuery

        tools["sql_query"] = SqlQuery(settings.sql_url)
    for name, function in tools.items():
        if name not in own:
            registry.tool(
                function, name=name, changes=_sends if name == "http_request" else False,
                writes_prompts=name == WRITE_NOTE,
            )  # fmt: skip


def quoted_in(result: ToolResult, context: ToolContext) -> tuple[str, ...]:
    """The ids of the messages whose words a tool's answer repeats."""
    if result.name == WRITE_NOTE and result.error is None:
        return tuple(context.sources.message_ids)
    found = result.value if result.name == SEARCH_MEMORY and isinstance(result.value, Mapping) else {}
    return tuple(str(each["message_id"]) for each in found.get("found", ()))


def _sends(arguments: Mapping[str, Any]) -> bool:
    """Whether a request may change something where it goes."""
    return str(arguments.get("method", "GET")).upper() not in ("GET", "HEAD")
