"""The one error tree of the assistant.

AssistantError
  SettingsInvalid       a setting cannot be read
  BudgetTooSmall        the prompt's necessary parts do not fit the token budget
  AgentNotFound         there is no agent of that name
  AgentFileWrong        an agent's file cannot be read
  ContextNotFound       there is no such assembled prompt
  ContextErased         the prompt held something that was erased
  ModelError            the model gave no reply; the user's message is kept
    ModelUnreachable    no connection, or no answer in time
    ModelRefusedKey     the server does not take the key
    ModelOutOfQuota     the account has no quota, or the rate is exceeded
    ModelContextTooLong the prompt is longer than the model takes
    ModelNotFound       the server has no such model
    ModelRejected       the server calls the request wrong
    ModelFailed         the server failed
    ModelBrokeOff       the reply broke off in the middle; what came is kept as incomplete
  SpendCapReached       a call would cost more than is allowed; it was not made
  PriceUnknown          a spend cap is set and the model has no price; the call was not made
  ToolError             a tool gave no result; the model is told why
    ToolNotFound        there is none of that name, or the agent may not use it
    ToolArgumentsWrong  the arguments are no JSON, or not what the tool takes
    ToolFailed          the tool says why it cannot
    ToolTimedOut        it took longer than it may
    ToolNotConfirmed    a person did not agree to what it would change
"""

from typing import ClassVar


class AssistantError(Exception):
    """Something went wrong in the assistant."""

    code: ClassVar[str] = "assistant_error"

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        super().__init__(message or self.__doc__)
        self.param = param

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return str(self)


class SettingsInvalid(AssistantError):
    """A setting cannot be read."""

    code = "settings_invalid"


class BudgetTooSmall(AssistantError):
    """The token budget is too small for the system prompt and the newest message."""

    code = "budget_too_small"


class AgentNotFound(AssistantError):
    """There is no agent of that name."""

    code = "agent_not_found"


class AgentFileWrong(AssistantError):
    """An agent's file cannot be read."""

    code = "agent_file_wrong"


class ContextNotFound(AssistantError):
    """There is no such context."""

    code = "context_not_found"


class ContextErased(AssistantError):
    """Something in this context was erased."""

    code = "context_erased"


class ModelError(AssistantError):
    """The model gave no reply."""

    code = "model_error"


class ModelUnreachable(ModelError):
    """The model's server does not answer."""

    code = "model_unreachable"


class ModelRefusedKey(ModelError):
    """The model's server does not take the key."""

    code = "model_key_refused"


class ModelOutOfQuota(ModelError):
    """The account at the model's server is out of quota, or asks too often."""

    code = "model_out_of_quota"
    #: Whether asking again cannot help.
    final = False
    #: Seconds that the server asks to wait.
    retry_after: float | None = None


class ModelContextTooLong(ModelError):
    """The prompt is longer than the model takes."""

    code = "model_context_too_long"
    #: Tokens that the model takes, where its server says so.
    limit: int | None = None


class ModelNotFound(ModelError):
    """The model's server has no such model."""

    code = "model_not_found"


class ModelRejected(ModelError):
    """The model's server calls the request wrong."""

    code = "model_rejected"


class ModelFailed(ModelError):
    """The model's server failed."""

    code = "model_failed"


class ModelBrokeOff(ModelError):
    """The reply broke off."""

    code = "model_broke_off"
    #: What had come by then.
    text = ""


class SpendCapReached(AssistantError):
    """A call would cost more than is allowed."""

    code = "spend_cap_reached"


class PriceUnknown(AssistantError):
    """A spend cap is set, and the model has no price."""

    code = "price_unknown"


class ToolError(AssistantError):
    """The tool gave no result."""

    code = "tool_error"


class ToolNotFound(ToolError):
    """There is no such tool here."""

    code = "tool_not_found"


class ToolArgumentsWrong(ToolError):
    """The arguments are not what the tool takes."""

    code = "tool_arguments_wrong"


class ToolFailed(ToolError):
    """The tool could not do what was asked."""

    code = "tool_failed"


class ToolTimedOut(ToolError):
    """The tool took longer than it may."""

    code = "tool_timed_out"


class ToolNotConfirmed(ToolError):
    """Nobody agreed to this change."""

    code = "tool_not_confirmed"
