"""The application: routes, errors and limits around services that are handed to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from api import errors
from api.body_limit import BodyLimit
from api.deps import admit
from api.gate import Gate
from api.page_headers import PageHeaders
from api.routes import (
    assistant,
    chat,
    contexts,
    forgetting,
    health,
    keys,
    knowledge,
    links,
    memory,
    planned,
    quarantine,
    retention,
)  # fmt: skip
from api.services import Services

_OTHER_THREADS = 4


class _App(FastAPI):
    """The application, whose every answer has the headers for browsers: refusals and internal errors, too."""

    def build_middleware_stack(self) -> ASGIApp:
        """Put the headers around the middleware that answers internal errors."""
        return PageHeaders(super().build_middleware_stack())


def create_app(services: Services) -> FastAPI:
    """The ASGI application over these services; who made them closes them."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # For work without a lane: static files, and streams that are read piece by piece.
        to_thread.current_default_thread_limiter().total_tokens = _OTHER_THREADS
        yield

    app = _App(
        title="memory-engine",
        summary="A memory that conversations can live in.",
        version="0.1.0",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect would repeat the Host that the caller sent
        dependencies=[Depends(admit)],
        lifespan=lifespan,
    )
    app.state.services = services
    errors.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Gate, services=services)  # added last, so that it stands before everything
    for routes in (
        planned, health, contexts, assistant, chat, links, knowledge, quarantine, retention, forgetting, keys, memory,
    ):  # fmt: skip
        app.include_router(routes.router)
    app.mount("/web", StaticFiles(directory=health.WEB), name="web")
    return app
