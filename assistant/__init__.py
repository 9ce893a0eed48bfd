"""A conversation, turn by turn, over the memory. These are the assistant's public names."""

from assistant.context_manager import Prompt
from assistant.custom_assistant import CustomAssistant
from assistant.errors import AssistantError
from assistant.packing import budget_fates, within_budget
from assistant.prompt_request import DEFAULT_BUDGET, PromptRequest
from assistant.settings import Settings, load_settings
from assistant.tool_call_handler import ToolResult
from assistant.tools import ToolContext, ToolRegistry
from assistant.turns import Delta, Event, Reply, ToolCalled, Turn

__all__ = [
    "DEFAULT_BUDGET",
    "AssistantError",
    "CustomAssistant",
    "Delta",
    "Event",
    "Prompt",
    "PromptRequest",
    "Reply",
    "Settings",
    "ToolCalled",
    "ToolContext",
    "ToolRegistry",
    "ToolResult",
    "Turn",
    "budget_fates",
    "load_settings",
    "within_budget",
]
