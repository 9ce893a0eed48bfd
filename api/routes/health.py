"""/health and /ready, and the pages."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse

from api.deps import CallerDep, ServicesDep
from api.lanes import LaneRoute
from api.services import Services
from memory_engine import PartStatus

router = APIRouter(route_class=LaneRoute)
WEB = Path(str(files("api"))) / "web"


@router.get("/health", tags=["service"])
async def health() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/ready", tags=["service"])
def ready(services: ServicesDep, caller: CallerDep) -> JSONResponse:
    """Report whether requests can be served, part by part.

    The status is 503 when the database does not answer or a background thread cannot be started again. The part
    `background` names work that was set aside: of the key's namespace, without a key of all of them. The details,
    which count what waits in the whole store, are for the service's own machine.
    """
    found = services.engine.parts(caller.namespace)
    parts: dict[str, Any] = {name: _part(part) for name, part in found.items()}
    settings = services.settings
    if settings.has_model:
        parts["model"] = _model_part(services)
    else:
        detail = "No model is configured: the offline responder quotes what is remembered."
        parts["model"] = {"status": "offline", "detail": detail}
    if failures := services.assistant.chat_proxy.failures:
        counted = ", ".join(f"{code} {count}" for code, count in sorted(failures.items()))
        parts["chat"] = {"status": "ok", "detail": f"What went wrong beside answers since the start: {counted}."}
    if not caller.is_machine:
        parts = {name: {**part, "detail": ""} for name, part in parts.items()}
    degraded = [name for name, part in parts.items() if part["status"] == "degraded"]
    status = 200 if all(part.serves for part in found.values()) else 503
    return JSONResponse({"status": "degraded" if degraded else "ok", "parts": parts}, status)


def _model_part(services: Services) -> dict[str, Any]:
    """Report the models, degraded if one of them is switched off; one that soon will be is in the detail."""
    settings, found = services.settings, services.assistant.switch_offs()
    sentences = [f"{settings.default_model}, then {settings.fallback_model}.", *(each.sentence for each in found)]
    is_past = any(each.is_past for each in found)
    rows = [
        {"model": each.model, "date": each.day.isoformat(), "is_past": each.is_past, "replacement": each.replacement}
        for each in found
    ]
    return {"status": "degraded" if is_past else "ok", "detail": " ".join(sentences), "switch_offs": rows}


def _part(part: PartStatus) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": "ok" if part.ok else "degraded", "detail": part.detail}
    if part.count:
        items = [
            {
                "stage": item.stage, "thread_id": item.thread_id, "item": item.item, "error": item.error,
                "attempts": item.attempts, "failed_at": item.failed_at // 1_000_000,
            }
            for item in part.items
        ]  # fmt: skip
        shown |= {"count": part.count, "items": items}
    return shown


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """The routes, the same in every installation."""
    return JSONResponse(request.app.openapi())


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The web page."""
    return FileResponse(WEB / "index.html")


@router.get("/docs", include_in_schema=False)
async def docs() -> FileResponse:
    """Swagger UI, from files of our own."""
    return FileResponse(WEB / "docs.html")
