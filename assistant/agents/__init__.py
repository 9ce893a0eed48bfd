"""The agents: each a prompt file beside this one."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from assistant.errors import AgentNotFound

DEFAULT_AGENT = "greeter"


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """A voice of the assistant: its name and its system prompt."""

    name: str
    prompt: str


@cache
def all_agents() -> dict[str, Agent]:
    """Every agent by name."""
    found = sorted(path.name for path in files(__name__).iterdir() if path.name.endswith(".md"))
    return {name.removesuffix(".md"): _read(name) for name in found}


def get_agent(name: str) -> Agent:
    """The agent of that name.

    Raises:
        AgentNotFound: there is none.
    """
    agents = all_agents()
    if name not in agents:
        raise AgentNotFound(f"There is no agent {name!r}; there are: {', '.join(agents)}.", param="agent")
    return agents[name]


def _read(filename: str) -> Agent:
    prompt = (files(__name__) / filename).read_text(encoding="utf-8").strip()
    return Agent(name=filename.removesuffix(".md"), prompt=prompt)
