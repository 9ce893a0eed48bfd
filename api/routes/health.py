"""/health and /ready, and the pages."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse

from api.deps import CallerDep, ServicesDep
from api.lanes import LaneRoute

router = APIRouter(route_class=LaneRoute)
WEB = Path(str(files("api"))) / "web"


@router.get("/health", tags=["service"])
async def health() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/ready", tags=["service"])
def ready(services: ServicesDep, caller: CallerDep) -> JSONResponse:
    """Whether requests can be served, part by part; 503 when the database does not answer.

    The details, which count what waits in the whole store, are for the service's own machine.
    """
    parts: dict[str, Any] = {
        name: {"status": "ok" if part.ok else "degraded", "detail": part.detail}
        for name, part in services.engine.parts().items()
    }
    settings = services.settings
    if settings.has_model:
        parts["model"] = {
            "status": "ok",
            "detail": f"{settings.default_model}, then {settings.fallback_model}",
        }
    else:
        detail = "No model is configured: the offline responder quotes what is remembered."
        parts["model"] = {"status": "offline", "detail": detail}
    if not caller.is_machine:
        parts = {name: {**part, "detail": ""} for name, part in parts.items()}
    degraded = [name for name, part in parts.items() if part["status"] == "degraded"]
    status = 503 if "database" in degraded else 200
    return JSONResponse({"status": "degraded" if degraded else "ok", "parts": parts}, status)


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
