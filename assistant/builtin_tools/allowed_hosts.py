"""The list of hosts that requests may go to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import httpx2

from assistant.errors import SettingsInvalid

_PATTERN = re.compile(r"(?P<any>\*\.)?(?P<name>\[[^\[\]]+\]|[^\[\]:/?#@*\s]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Allowed:
    name: str
    #: Whether the name's subdomains are meant, and not the name itself.
    subdomains: bool
    #: None for every port.
    port: int | None

    def covers(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        return host.endswith("." + self.name) if self.subdomains else host == self.name


class AllowedHosts:
    """Exact names, `*.example.com` for the subdomains of a name, and either with a `:port`."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Read the patterns.

        Raises:
            SettingsInvalid: one of them is neither a name nor `*.` and a name.
        """
        self._patterns = tuple(patterns)
        self._allowed = tuple(_allowed(each) for each in patterns)

    def cover(self, url: httpx2.URL) -> bool:
        """Whether requests may go to the host and port of a URL."""
        return any(each.covers(host_of(url), port_of(url)) for each in self._allowed)

    def __str__(self) -> str:
        return ", ".join(self._patterns) or "none"


def host_of(url: httpx2.URL) -> str:
    """The host of a URL in the one spelling in which hosts are compared."""
    host = url.raw_host.decode("ascii").lower().removesuffix(".")
    try:
        return ip_address(host).compressed
    except ValueError:
        return host


def port_of(url: httpx2.URL) -> int:
    """The port of a URL, or its scheme's."""
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def _allowed(pattern: str) -> _Allowed:
    found = _PATTERN.fullmatch(pattern.strip())
    try:
        name = host_of(httpx2.URL(f"http://{found['name']}/")) if found else ""
    except httpx2.InvalidURL:
        name = ""
    if not found or not name:
        raise SettingsInvalid(f"{pattern!r} is no host: write a name, *.name for its subdomains, or either with :port.")
    port = int(found["port"]) if found["port"] else None
    return _Allowed(name=name, subdomains=bool(found["any"]), port=port)
