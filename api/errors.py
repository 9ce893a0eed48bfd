"""From the packages' errors to HTTP: one body, one table of statuses."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from assistant import errors as assistant_errors
from assistant.errors import AssistantError
from memory_engine import errors as memory_errors
from memory_engine.errors import MemoryEngineError


class RequestRefused(Exception):
    """The request is refused before it reaches the service."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        #: Seconds, of a 429.
        self.retry_after = retry_after


class BodyRefused(HTTPException):
    """A body is refused while it is read: the only kind of error that FastAPI passes on from there."""

    def __init__(self, status: int, message: str, *, code: str) -> None:
        super().__init__(status, message)
        self.code = code


#: Seconds after which to ask again, where nothing better is known.
_RETRY_AFTER = 20

#: Most specific first.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (memory_errors.TextTooLarge, 413),
    (memory_errors.InvalidInput, 400),
    (memory_errors.Erased, 410),
    (memory_errors.NotFound, 404),
    (memory_errors.ReindexRunning, 409),
    (memory_errors.StoreError, 503),
    (memory_errors.EmbedderUnavailable, 503),
    (memory_errors.IndexUnavailable, 503),
    (assistant_errors.BudgetTooSmall, 400),
    (assistant_errors.AgentNotFound, 400),
    (assistant_errors.ContextNotFound, 404),
    (assistant_errors.ContextErased, 410),
    (assistant_errors.SpendCapReached, 429),
    (assistant_errors.PriceUnknown, 400),
    (assistant_errors.ModelOutOfQuota, 429),
    (assistant_errors.ModelUnreachable, 504),
    (assistant_errors.ModelError, 502),
)


def error_body(status: int, message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return the one shape of every error."""
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status)
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_of(exc: MemoryEngineError | AssistantError) -> tuple[int, dict[str, Any]]:
    """The status and the body of an error of the packages."""
    status = next((status for kind, status in _STATUSES if isinstance(exc, kind)), 500)
    body = error_body(status, exc.message, code=exc.code, param=exc.param)
    if isinstance(exc, memory_errors.InvalidInput) and exc.details:
        body["error"]["details"] = [asdict(wrong) for wrong in exc.details]
    return status, body


def respond(status: int, message: str, *, code: str | None = None, param: str | None = None) -> JSONResponse:
    """An error as a response."""
    return _answer(status, error_body(status, message, code=code, param=param))


def refusal(exc: RequestRefused) -> JSONResponse:
    """A refusal as a response."""
    body = error_body(exc.status, exc.message, code=exc.code, param=exc.param)
    return _answer(exc.status, body, exc.retry_after or _RETRY_AFTER)


def respond_to(exc: MemoryEngineError | AssistantError) -> JSONResponse:
    """An error of the packages as a response."""
    return _answer(*error_of(exc))


def _answer(status: int, body: dict[str, Any], retry_after: int = _RETRY_AFTER) -> JSONResponse:
    headers = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": str(retry_after)}}.get(status)
    return JSONResponse(body, status, headers=headers)


#: Characters of a field's name in an error: it is the client's own, and may be as long as a body.
_LONGEST_PARAM = 256
#: What is wrong with a request, by pydantic's names of it.
_SENTENCES = {
    "json_invalid": "The body is not JSON.",
    "extra_forbidden": "Unknown field.",
    "missing": "A required field is missing.",
    "string_type": "{name} must be a text.",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "{name} must be a whole number."),
    **dict.fromkeys(("float_type", "float_parsing"), "{name} must be a number."),
    **dict.fromkeys(("bool_type", "bool_parsing"), "{name} must be true or false."),
    **dict.fromkeys(("list_type", "tuple_type"), "{name} must be a list."),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "{name} must be an object."),
    "literal_error": "{name} must be {expected}.",
    "too_short": "{name} must have {min_length} or more.",
    "too_long": "{name} may have {max_length:,} at most.",
    "string_too_short": "{name} must have {min_length} or more characters.",
    "string_too_long": "{name} may have {max_length:,} characters at most.",
    "greater_than_equal": "{name} must be at least {ge:,}.",
    "less_than_equal": "{name} must be at most {le:,}.",
    "value_error": "{error}.",
}


def _sentence(wrong: Mapping[str, Any], name: str) -> str:
    """What is wrong with a value of this name, in words of ours where we have some."""
    known = _SENTENCES.get(wrong["type"])
    return f"{wrong['msg']}." if known is None else known.format(name=name, **wrong.get("ctx", {}))


def install(app: FastAPI) -> None:
    """Answer every error of the packages, of FastAPI and of the router in the one shape."""

    @app.exception_handler(MemoryEngineError)
    @app.exception_handler(AssistantError)
    async def known(_request: Request, exc: Any) -> JSONResponse:
        return respond_to(exc)

    @app.exception_handler(RequestRefused)
    async def refused(_request: Request, exc: Any) -> JSONResponse:
        return refusal(exc)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, exc: Any) -> JSONResponse:
        first = exc.errors()[0]
        where = [str(part) for part in first["loc"][1:]]
        code = {"json_invalid": "invalid_json", "extra_forbidden": "unknown_field"}.get(first["type"], "invalid_value")
        param = None if first["type"] == "json_invalid" else ".".join(where)[:_LONGEST_PARAM] or None
        return respond(400, _sentence(first, param or "The body"), code=code, param=param)

    @app.exception_handler(HTTPException)
    async def routed(_request: Request, exc: Any) -> JSONResponse:
        message = {404: "There is no such route.", 405: "This route does not take that method."}.get(exc.status_code)
        code = exc.code if isinstance(exc, BodyRefused) else None
        response = respond(exc.status_code, str(exc.detail) if code else message or str(exc.detail), code=code)
        response.headers.update(exc.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _exc: Any) -> JSONResponse:
        return respond(500, "The service made a mistake; its log says more.", code="internal_error")
