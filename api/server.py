"""Runs the service: opens the parts, tells where it is, serves, and closes them in order."""

import asyncio
import ctypes
import gc
import signal
import socket
import sys
from contextlib import suppress
from typing import cast

import typer
import uvicorn
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits

from api.app import create_app
from api.bootstrap import load_samples, open_services, remove_service_file, write_service_file
from api.bounded_http import HttpLimits, bounded_protocol, connections_allowed
from api.client import ServiceError
from api.console import working
from api.gate import is_loopback
from api.logs import set_up_logs
from api.services import Services
from assistant import Settings
from assistant.settings import REFUSE, ignored_settings_file
from memory_engine.storage.private_files import OWNER_ALONE

#: How long a thread computes before another that waits gets its turn. A write runs a dozen statements and waits for its
#: turn after each: with Python's default of 5 ms, recall or a summary costs it 60 ms, with .5 ms 6 (ADRs 15 and 19).
TURN_SECONDS = 0.0005
#: glibc's name for how many places threads allocate from, and how many they get.
_M_ARENA_MAX, _ARENAS = -8, 2


def run_server(settings: Settings, *, host: str, port: int, demo: bool, workers: int) -> None:
    """Serve until told to stop.

    Raises:
        ServiceError: the address cannot be used, or the settings do not allow to serve so.
        MemoryEngineError: the store cannot be opened.
    """
    _check_allowed(settings, host, workers)
    set_up_logs()
    use_few_arenas()
    use_one_thread()
    sys.setswitchinterval(TURN_SECONDS)
    services = open_services(settings)
    try:
        remove_service_file(settings.data_dir)  # what a service that was killed left behind would mislead commands
        if demo:
            with working("Loading the sample conversations"):
                load_samples(services.engine, lambda _name: None)
        listener = _listen(host, port)
        address = f"http://{_bracketed(host)}:{listener.getsockname()[1]}"
        settings.data_dir.mkdir(mode=OWNER_ALONE, parents=True, exist_ok=True)
        write_service_file(settings.data_dir, address, services.run_token)
        _greet(address, services)
        _warn_of_models(services)
        if (history := services.engine.parts().get("history")) is not None:
            typer.echo(f"memory-engine: {history.detail}", err=True)
        config = uvicorn_config(settings, create_app(services))
        spare_what_stays()
        _serve(uvicorn.Server(config), listener)
    finally:
        remove_service_file(settings.data_dir)
        services.close()


def uvicorn_config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    """Return the configuration of the server, with its limits on connections and headers."""
    limits = HttpLimits(connections=connections_allowed(settings.limit_connections))
    protocol = cast(type[asyncio.Protocol], bounded_protocol(limits))  # uvicorn calls it, as it would a class
    return uvicorn.Config(app, http=protocol, ws="none", log_config=None, timeout_graceful_shutdown=10)


def use_one_thread() -> None:
    """Let numpy multiply in the thread that asks, in this whole process.

    Our matrices are small and our requests many: BLAS's own threads would be no faster, and would spin after every
    product, so that twice the CPU is spent.
    """
    threadpool_limits(limits=1, user_api="blas")


def use_few_arenas() -> None:
    """Let all threads of this process allocate from two places, where the C library is glibc.

    By default it gives nearly every thread its own, and what one of them has freed the others cannot use: 300 MB.
    """
    with suppress(AttributeError):  # other C libraries have no such thing
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def spare_what_stays() -> None:
    """Let the collector of garbage pass over all that there is by now, modules and routes, in this whole process.

    It stays until the end, and looking through it held every thread up for a tenth of a second each time.
    """
    gc.collect()
    gc.freeze()


def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    # Once it has stopped, uvicorn raises the signal again for whoever handled it before; the default would end the
    # process before the store is closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])


def _check_allowed(settings: Settings, host: str, workers: int) -> None:
    if workers > 1:
        raise ServiceError("--workers above 1 is not implemented yet; one process serves.")
    if not settings.api_keys_required and not is_loopback(host):
        raise ServiceError(
            f"Without API keys the service binds to a loopback address only, not to {host}: "
            "set MEMORY_ENGINE_API_KEYS_REQUIRED=true to bind there."
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise ServiceError(f"{host}:{port} cannot be used: {exc.strerror}.") from exc
    listener.listen(128)
    return listener


def _warn_of_models(services: Services) -> None:
    """Print one line if a model that is configured is switched off, soon will be, or is refused for want of a price.

    The server's own dates are not there yet; `/ready` has them.
    """
    settings = services.settings
    sentences = [each.sentence for each in services.assistant.switch_offs()]
    if settings.has_model and settings.has_cap and settings.unpriced == REFUSE:
        names = dict.fromkeys((settings.default_model, settings.fallback_model))
        sentences += [f"The model {name} has no price and is refused." for name in names if not settings.price_of(name)]
    if sentences:
        typer.echo("memory-engine: " + " ".join(sentences), err=True)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _greet(address: str, services: Services) -> None:
    settings = services.settings
    typer.echo(f"memory-engine serves on {address} (console at /, routes at /docs), data in {settings.data_dir}")
    if not settings.has_model:
        typer.echo("No model is configured: replies quote what is remembered. Set OPENAI_API_KEY or OPENAI_BASE_URL.")
    if (ignored := ignored_settings_file(settings)) is not None:
        typer.echo(
            f"{ignored.absolute()} is not read, because OPENAI_API_KEY is in the environment. "
            "Set MEMORY_ENGINE_ENV_FILE to read it."
        )
    if settings.api_keys_required and not services.keys.all():
        typer.echo("API keys are required and there is none yet: `memory-engine keys create` makes one.")
    sys.stdout.flush()
