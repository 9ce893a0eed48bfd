"""A conversation, turn by turn, over the memory. These are the assistant's public names."""

from assistant.context_manager import Prompt
from assistant.custom_assistant import CustomAssistant, Reply, Turn
from assistant.errors import AssistantError
from assistant.packing import budget_fates, within_budget
from assistant.prompt_request import DEFAULT_BUDGET, PromptRequest
from assistant.settings import Settings, load_settings

__all__ = [
    "DEFAULT_BUDGET",
    "AssistantError",
    "CustomAssistant",
    "Prompt",
    "PromptRequest",
    "Reply",
    "Settings",
    "Turn",
    "budget_fates",
    "load_settings",
    "within_budget",
]
