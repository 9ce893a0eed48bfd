"""switch_agent: hands the conversation to another agent."""

from typing import Any

from assistant.agents import Agents
from assistant.errors import AgentNotFound, ToolFailed


class SwitchAgent:
    """Names the agent that goes on; the turn itself does the rest."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    def __call__(self, agent: str, reason: str = "") -> dict[str, Any]:
        """Hand this conversation to another agent, who goes on at once with the whole history.

        Args:
            agent: the name of the agent.
            reason: why, in a few words.
        """
        try:
            found = self._agents.get(agent)
        except AgentNotFound as exc:
            raise ToolFailed(exc.message) from exc
        return {"agent": found.name, "description": found.settings.description, "reason": reason}
