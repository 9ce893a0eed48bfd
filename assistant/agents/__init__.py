"""The agents: each a file with its settings and its prompt, shipped beside this one or dropped into a folder."""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.errors import AgentFileWrong, AgentNotFound

DEFAULT_AGENT = "greeter"

#: The settings stand between two lines of plus signs, as TOML; the prompt follows.
_FILE = re.compile(r"\A\+\+\+\n(.*?)\n?^\+\+\+\n(.*)\Z", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
#: How people ask for an agent by name: at the start of what they say, or with a verb of connecting.
_ASKED = (
    r"^\s*@{name}\b",
    r"\b(?:switch|connect|transfer|hand|pass|put|bring)\s+(?:me\s+)?(?:over\s+)?(?:through\s+)?to\s+(?:the\s+)?{name}\b",
    r"\b(?:talk|speak)\s+(?:to|with)\s+(?:the\s+)?{name}\b",
    r"\b(?:passe|passer|passez|parler|connecte)(?:[- ]moi)?\s+(?:à|a|avec)\s+(?:l['’]agent\s+)?{name}\b",
    r"\b(?:переключи|соедини|позови)\S*\s+(?:меня\s+)?(?:на|с|со)?\s*(?:агента?\s+)?{name}\b",
)


class AgentMemory(BaseModel):
    """What an agent does with the memory."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: Whether earlier conversations are recalled for it.
    recall: bool = True
    #: Tokens of its prompts, where a turn does not say.
    token_budget: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


class AgentSettings(BaseModel):
    """What stands at the head of an agent's file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    description: str = ""
    #: The model that is asked; the service's default unless set.
    model: str | None = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    #: Names of the tools that it may use.
    tools: list[str] = Field(default_factory=list)
    memory: AgentMemory = AgentMemory()


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """A voice of the assistant."""

    name: str
    prompt: str
    settings: AgentSettings
    #: Names what the file said: another text has another version.
    version: str


class Agents:
    """The agents that there are; a file that is changed, added or removed counts from the next turn on."""

    def __init__(self, folder: Path | None = None) -> None:
        """Take a folder whose files stand beside those shipped, and in place of those of the same name."""
        self._folder = folder

    def all(self) -> dict[str, Agent]:
        """Every agent by name.

        Raises:
            AgentFileWrong: a file cannot be read; the message names it.
        """
        return {name: _read(name, path) for name, path in sorted(self._paths().items())}

    def get(self, name: str) -> Agent:
        """The agent of that name.

        Raises:
            AgentNotFound: there is none.
            AgentFileWrong: its file cannot be read.
        """
        paths = self._paths()
        if name not in paths:
            raise AgentNotFound(f"There is no agent {name!r}; there are: {', '.join(sorted(paths))}.", param="agent")
        return _read(name, paths[name])

    def asked_for(self, message: str) -> str | None:
        """The agent that a person asks for by name in a message, or None."""
        for name in self._paths():
            if any(re.search(each.format(name=re.escape(name)), message, re.IGNORECASE) for each in _ASKED):
                return name
        return None

    def _paths(self) -> dict[str, Traversable]:
        shipped = {path.name: path for path in files(__name__).iterdir() if path.name.endswith(".md")}
        own = {} if self._folder is None else {path.name: path for path in sorted(self._folder.glob("*.md"))}
        return {name.removesuffix(".md"): path for name, path in {**shipped, **own}.items()}


def _read(name: str, path: Traversable) -> Agent:
    if not _NAME.fullmatch(name):
        raise AgentFileWrong(f"An agent's file is named in small Latin letters, not {name!r}.")
    try:
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise AgentFileWrong(f"The agent {name!r} cannot be read: {exc}") from exc
    head = _FILE.match(text)
    settings, prompt = (_settings(name, head.group(1)), head.group(2)) if head else (AgentSettings(), text)
    if not prompt.strip():
        raise AgentFileWrong(f"The agent {name!r} has no prompt.")
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Agent(name=name, prompt=prompt.strip(), settings=settings, version=version)


def _settings(name: str, text: str) -> AgentSettings:
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        return AgentSettings.model_validate(raw)
    except tomllib.TOMLDecodeError as exc:
        raise AgentFileWrong(f"The head of the agent {name!r} is not TOML: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AgentFileWrong(f"The agent {name!r} has a wrong {where}: {first['msg']}.") from exc
