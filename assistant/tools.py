"""Tools: functions that a model may call, each with the JSON Schema of its arguments."""

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import jsonschema
from jsonschema.protocols import Validator
from pydantic import ConfigDict, create_model

from assistant.errors import ToolArgumentsWrong, ToolNotFound
from memory_engine import Scope
from memory_engine.models import NO_SOURCES, NoteSources

#: Names that Chat Completions takes.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Lines of a docstring's Args section: "name: what it is".
_ARGUMENT = re.compile(r"^\s+\*{0,2}(\w+)(?: \([^)]*\))?: (.+)$")
DEFAULT_TIMEOUT, DEFAULT_OUTPUT = 15.0, 8_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolContext:
    """Where a tool is called; a parameter of this type is given by us and not by the model."""

    scope: Scope
    conversation_id: str
    agent: str
    #: The place of what the person said: what stands from there on is this turn itself. None outside a turn.
    before_seq: int | None = None
    #: What the prompts of the turn rest on.
    sources: NoteSources = NO_SOURCES
    #: Whether these prompts hold text of tools, of other conversations, or of other people.
    holds_foreign_text: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A function that a model may call."""

    name: str
    description: str
    #: JSON Schema of an object.
    parameters: Mapping[str, Any]
    function: Callable[..., Any]
    #: The parameter that takes the ToolContext, or None.
    context_parameter: str | None
    #: Seconds that a call may take.
    timeout: float
    #: Characters of its output that the model is shown.
    max_output: int
    #: Whether a call with these arguments changes something outside, so that a person is asked first.
    changes: Callable[[Mapping[str, Any]], bool]
    #: Whether later prompts show what it is given, so that a person is asked where the turn holds text of others.
    writes_prompts: bool = False

    @property
    def as_chat(self) -> dict[str, Any]:
        """In the shape of Chat Completions."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def parse(self, arguments: str) -> dict[str, Any]:
        """The arguments of a call.

        Raises:
            ToolArgumentsWrong: they are no JSON, or not what the schema says; the message tells a model how to mend it.
        """
        try:
            parsed = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as exc:
            raise ToolArgumentsWrong(f"The arguments of {self.name} are no JSON: {exc}.") from exc
        validator: Validator = jsonschema.Draft202012Validator(self.parameters)
        errors = sorted(validator.iter_errors(parsed), key=lambda error: list(map(str, error.path)))
        if errors:
            told = "; ".join(
                f"{'.'.join(map(str, error.path)) or 'arguments'}: {error.message}" for error in errors[:5]
            )
            raise ToolArgumentsWrong(f"The arguments of {self.name} are wrong: {told}.")
        return dict(parsed)

    def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """What the function returns; whatever it raises comes through."""
        own = {} if self.context_parameter is None else {self.context_parameter: context}
        return self.function(**arguments, **own)


class ToolRegistry:
    """The tools of an assistant, by name."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def tool(  # noqa: PLR0913  (one for each option)
        self,
        function: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_output: int = DEFAULT_OUTPUT,
        changes: bool | Callable[[Mapping[str, Any]], bool] = False,
        writes_prompts: bool = False,
    ) -> Any:
        """Register a function, as a decorator or by a call; the function itself is returned.

        Args:
            function: typed, with a docstring that says what it does; "Args:" in it describes the arguments.
            name: the function's own unless given.
            parameters: the JSON Schema of the arguments; made from the signature unless given.
            timeout: seconds that a call may take.
            max_output: characters of its output that the model is shown.
            changes: whether a person is asked before it is called, or a function of the arguments that tells.
            writes_prompts: whether later prompts show what it is given. A person is asked before it is called in a turn
                whose prompt holds text of tools, of other conversations, or of other people.

        Raises:
            ValueError: the name cannot be taken or is taken, or the signature cannot be described.
        """

        def register(wanted: Callable[..., Any]) -> Callable[..., Any]:
            self.add(
                Tool(
                    name=name or _name_of(wanted),
                    description=_description(wanted),
                    parameters=parameters or _schema(wanted),
                    function=wanted,
                    context_parameter=_context_parameter(wanted),
                    timeout=timeout,
                    max_output=max_output,
                    changes=changes if callable(changes) else lambda _: bool(changes),
                    writes_prompts=writes_prompts,
                )
            )
            return wanted

        return register if function is None else register(function)

    def add(self, tool: Tool) -> None:
        """Take a tool.

        Raises:
            ValueError: its name cannot be taken or is taken, or its parameters are no JSON Schema of an object.
        """
        if not _NAME.fullmatch(tool.name) or tool.name in self._tools:
            raise ValueError(f"A tool cannot be named {tool.name!r} here.")
        try:
            jsonschema.Draft202012Validator.check_schema(dict(tool.parameters))
        except jsonschema.SchemaError as exc:
            raise ValueError(f"The parameters of {tool.name} are no JSON Schema: {exc.message}.") from exc
        if tool.parameters.get("type") != "object":
            raise ValueError(f"The parameters of {tool.name} must be an object.")
        self._tools[tool.name] = tool

    def get(self, name: str, allowed: Sequence[str]) -> Tool:
        """The tool of that name.

        Raises:
            ToolNotFound: there is none, or it is not among the allowed ones.
        """
        if name not in self._tools or name not in allowed:
            names = ", ".join(each for each in self._tools if each in allowed) or "none"
            raise ToolNotFound(f"There is no tool {name!r}; there are: {names}.")
        return self._tools[name]

    def offered(self, allowed: Sequence[str]) -> list[Tool]:
        """Those of the allowed tools that there are, in the order in which they were registered."""
        return [tool for tool in self._tools.values() if tool.name in allowed]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tools."""
        return tuple(self._tools)


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """What has the signature and the docstring: the function, or an object's `__call__`."""
    return function if inspect.isroutine(function) else type(function).__call__


def _description(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(_called(function)) or ""
    return " ".join(text.split("\nArgs:")[0].split())


def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, inspect.Parameter]]:
    called = _called(function)
    hints = get_type_hints(called, include_extras=True)
    found = inspect.signature(called).parameters
    own = {name: parameter for name, parameter in found.items() if name != "self"}
    return {name: (hints.get(name, Any), parameter) for name, parameter in own.items()}


def _context_parameter(function: Callable[..., Any]) -> str | None:
    return next((name for name, (hint, _) in _parameters(function).items() if hint is ToolContext), None)


def _schema(function: Callable[..., Any]) -> dict[str, Any]:
    """The JSON Schema of a function's arguments, by its annotations and its docstring."""
    fields: dict[str, Any] = {}
    for name, (hint, parameter) in _parameters(function).items():
        if hint is ToolContext:
            continue
        if hint is Any or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.POSITIONAL_ONLY,
        ):
            raise ValueError(f"The parameter {name!r} of {_name_of(function)} cannot be described.")
        fields[name] = (hint, ... if parameter.default is parameter.empty else parameter.default)
    schema = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields).model_json_schema()
    told = {
        found.group(1): found.group(2).strip()
        for line in (inspect.getdoc(_called(function)) or "").splitlines()
        if (found := _ARGUMENT.match(line))
    }
    schema = _without_titles(schema)
    for name, described in schema.get("properties", {}).items():
        if name in told:
            described.setdefault("description", told[name])
    return {**schema, "properties": schema.get("properties", {})}


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_titles(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    is_title = isinstance(schema.get("title"), str)
    return {key: _without_titles(value) for key, value in schema.items() if not (key == "title" and is_title)}
