"""The agents: each a file with its settings and its prompt, shipped beside this one or dropped into a folder."""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.errors import AgentFileWrong, AgentNotFound

DEFAULT_AGENT = "greeter"
_SHIPPED = Path(__file__).parent

#: The settings stand between two lines of plus signs, as TOML; the prompt follows.
_FILE = re.compile(r"\A\+\+\+\n(.*?)\n?^\+\+\+\n(.*)\Z", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
#: Characters of a message in which an agent is asked for.
_READ = 2_000
#: How people ask for an agent by name: at the start of what they say, or with a verb of connecting. White space is
#: one blank each.
_ASKED = (
    r"\A@{name}\b",
    r"\b(?:switch|connect|transfer|hand|pass|put|bring) (?:me )?(?:over )?(?:through )?to (?:the )?{name}\b",
    r"\b(?:talk|speak) (?:to|with) (?:the )?{name}\b",
    r"\b(?:passe|passer|passez|parler|connecte)(?:[- ]moi)? (?:à|a|avec) (?:l['’]agent )?{name}\b",
    r"\b(?:переключи|соедини|позови)\S*+ (?:меня )?(?:(?:на|со?) ?)?(?:агента? )?{name}\b",
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
        #: What was read of each file, and when and how long that was then.
        self._known: dict[str, tuple[tuple[str, int, int], Agent]] = {}

    def all(self) -> dict[str, Agent]:
        """Every agent by name.

        Raises:
            AgentFileWrong: a file cannot be read; the message names it.
        """
        return {name: self._read(name, path) for name, path in sorted(self._paths().items())}

    def get(self, name: str) -> Agent:
        """The agent of that name.

        Raises:
            AgentNotFound: there is none.
            AgentFileWrong: its file cannot be read.
        """
        paths = self._paths()
        if name not in paths:
            raise AgentNotFound(f"There is no agent {name!r}; there are: {', '.join(sorted(paths))}.", param="agent")
        return self._read(name, paths[name])

    def exists(self, name: str | None) -> bool:
        """Whether there is an agent of that name."""
        return name in self._paths()

    def asked_for(self, message: str) -> str | None:
        """Return the agent that a person asks for by name in the first 2,000 characters of a message, or None."""
        start = " ".join(message[:_READ].split())
        for name in self._paths():
            if any(re.search(each.format(name=re.escape(name)), start, re.IGNORECASE) for each in _ASKED):
                return name
        return None

    def _paths(self) -> dict[str, Path]:
        folders = [_SHIPPED] if self._folder is None else [_SHIPPED, self._folder]
        return {path.stem: path for folder in folders for path in sorted(folder.glob("*.md"))}

    def _read(self, name: str, path: Path) -> Agent:
        stamp = _stamp(path)
        if name not in self._known or self._known[name][0] != stamp:
            self._known[name] = (stamp, _read(name, path))
        return self._known[name][1]


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError as exc:
        raise AgentFileWrong(f"The agent {path.stem!r} cannot be read: {exc}") from exc
    return str(path), found.st_mtime_ns, found.st_size


def _read(name: str, path: Path) -> Agent:
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
