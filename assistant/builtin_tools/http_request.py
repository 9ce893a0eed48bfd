"""A tool that sends HTTP requests, to allowed hosts at public addresses only."""

import codecs
import re
import ssl
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx2

from assistant.builtin_tools.addresses import Resolve, addresses_of, is_public, system_resolve
from assistant.builtin_tools.allowed_hosts import AllowedHosts, host_of, port_of
from assistant.builtin_tools.checked_transport import CheckedTransport
from assistant.deadline import Deadline
from assistant.errors import ToolFailed

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
#: Headers of an answer that are handed on.
_SHOWN = ("content-type", "content-length", "location", "retry-after")
#: Headers that belong to the connection, or say where a message ends; only we set them.
_REFUSED = re.compile(
    r"host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|content-length|expect"
)
#: Headers that a redirect to another host keeps: Authorization, Cookie and keys in headers of other names stay here.
_KEPT_ELSEWHERE = ("accept", "accept-language", "content-type", "user-agent")
_OURS = {"accept-encoding": "gzip, deflate", "connection": "close"}
#: One coding at most is undone: of several, each may grow a thousandfold.
_CODINGS = ("", "identity", "gzip", "deflate")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]+")
#: Other codecs of Python, such as punycode, decode in quadratic time, or are none of text.
_CHARSETS = re.compile(r"(utf-|ascii|iso8859|iso2022|cp\d|koi8|mac|gb|big5|euc_|shift_jis|johab|hz|tis).*")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """One hop: a request that was checked, but for where it goes."""

    url: httpx2.URL
    method: str
    headers: Mapping[str, str]
    body: bytes | None


class HttpRequest:
    """Sends HTTP requests to hosts of a list.

    The name is resolved once for each hop, every address that it has must be public, and the connection goes to
    the addresses that were checked. Redirects are checked as the first request is. Neither the environment's
    proxies, certificates nor netrc are read, and no cookies are kept.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Sequence[str],
        allow_private: bool = False,
        timeout: float = 10.0,
        max_bytes: int = 100_000,
        resolve: Resolve = system_resolve,
    ) -> None:
        """Prepare the tool; nothing is connected yet.

        Args:
            allowed_hosts: exact names, or `*.example.com` for subdomains; with `:port` for that port alone.
            allow_private: whether addresses may be private, loopback or reserved.
            timeout: seconds for a whole call, over all its redirects.
            max_bytes: bytes of a body after which the rest is left out, counted after decompression.
            resolve: gives the addresses of a name.

        Raises:
            SettingsInvalid: an allowed host cannot be read.
        """
        self._allowed = AllowedHosts(allowed_hosts)
        self._allow_private = allow_private
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._resolve = resolve

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return httpx2.create_ssl_context(trust_env=False)

    def __call__(
        self, url: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> dict[str, Any]:
        """Send an HTTP request to an allowed host and return the status, some headers and the text of the answer.

        Redirects are followed. A long body is cut, and then truncated is true.

        Args:
            url: The address, beginning with http:// or https://, without a user or password.
            method: GET, HEAD, POST, PUT, PATCH or DELETE.
            headers: Headers to send, by name.
            body: Text to send; give its kind as a Content-Type header.

        Raises:
            ToolFailed: the request is not allowed, or there is no valid answer.
            ToolTimedOut: there is no whole answer in time.
        """
        deadline = Deadline.after(self._timeout)
        asked = _asked(url, method, headers or {}, body)
        for _ in range(_MAX_REDIRECTS + 1):
            following = self._hop(asked, deadline)
            if not isinstance(following, _Asked):
                return following
            asked = following
        raise ToolFailed(f"There were more than {_MAX_REDIRECTS} redirects.")

    def _hop(self, asked: _Asked, deadline: Deadline) -> dict[str, Any] | _Asked:
        """The answer, or where it redirects to."""
        addresses = self._checked(asked.url, deadline)
        request = httpx2.Request(asked.method, asked.url, headers={**asked.headers, **_OURS}, content=asked.body)
        ssl_context = self._ssl_context if asked.url.scheme == "https" else None
        with (
            CheckedTransport(addresses, deadline, ssl_context) as transport,
            closing(transport.handle_request(request)) as response,
        ):
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return _redirected(asked, response)
            return self._answer(response)

    def _checked(self, url: httpx2.URL, deadline: Deadline) -> list[str]:
        if not self._allowed.cover(url):
            raise ToolFailed(f"The host {_place(url)} is not allowed; allowed are: {self._allowed}.")
        found = addresses_of(host_of(url), port_of(url), self._resolve, deadline)
        if not self._allow_private and not all(is_public(each) for each in found):
            raise ToolFailed(f"The host {_place(url)} has an address that is not public.")
        return [str(each) for each in found]

    def _answer(self, response: httpx2.Response) -> dict[str, Any]:
        coding = response.headers.get("content-encoding", "").strip().lower()
        if coding not in _CODINGS:
            raise ToolFailed(f"The answer is encoded as {coding!r}, which is not read here.")
        body = bytearray()
        try:
            for part in response.iter_bytes():
                body += part
                if len(body) > self._max_bytes:
                    break
        except httpx2.DecodingError as exc:
            raise ToolFailed(f"The answer is not the {coding} that it says it is.") from exc
        truncated = len(body) > self._max_bytes
        return {
            "status": response.status_code,
            "headers": {name: response.headers[name] for name in _SHOWN if name in response.headers},
            "body": _text(bytes(body[: self._max_bytes]), response.charset_encoding, whole=not truncated),
            "truncated": truncated,
        }


def _asked(url: str, method: str, headers: Mapping[str, str], body: str | None) -> _Asked:
    if method.upper() not in _METHODS:
        raise ToolFailed(f"The method {method!r} is none of {', '.join(_METHODS)}.")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ToolFailed(f"{name!r} is no valid header.")
        if _REFUSED.fullmatch(name.lower()):
            raise ToolFailed(f"The header {name!r} is not for you to set.")
    try:
        sent = None if body is None else body.encode()
        parsed = _checked_url(httpx2.URL(url))
    except (httpx2.InvalidURL, UnicodeError) as exc:
        raise ToolFailed(f"The URL or the body is not valid: {exc}.") from exc
    named = {name.lower(): value.strip() for name, value in headers.items()}
    return _Asked(url=parsed, method=method.upper(), headers={"user-agent": "memory-engine", **named}, body=sent)


def _checked_url(url: httpx2.URL) -> httpx2.URL:
    """The URL with its host in one spelling."""
    if url.scheme not in ("http", "https"):
        raise ToolFailed(f"The scheme {url.scheme!r} is neither http nor https.")
    if url.userinfo:
        raise ToolFailed("A URL may hold no user and no password.")
    host = host_of(url)
    if not _HOST_NAME.fullmatch(host):
        raise ToolFailed(f"{host!r} is no host.")
    if not 0 < port_of(url) < 65_536:
        raise ToolFailed(f"There is no port {port_of(url)}.")
    return url.copy_with(host=host)


def _redirected(asked: _Asked, response: httpx2.Response) -> _Asked:
    try:
        url = _checked_url(asked.url.join(response.headers["location"]))
    except (httpx2.InvalidURL, UnicodeError) as exc:
        raise ToolFailed("The host redirects to what is no URL.") from exc
    method, body, headers = asked.method, asked.body, asked.headers
    see_other = response.status_code == 303 and method != "HEAD"
    if see_other or (response.status_code in (301, 302) and method == "POST"):
        method, body = "GET", None
        headers = {name: value for name, value in headers.items() if not name.startswith("content-")}
    if not _same_host(asked.url, url):
        headers = {name: value for name, value in headers.items() if name in _KEPT_ELSEWHERE}
    return _Asked(url=url, method=method, headers=headers, body=body)


def _same_host(before: httpx2.URL, after: httpx2.URL) -> bool:
    """Whether credentials for one may go to the other; from http to https on one host they may."""
    if host_of(before) != host_of(after):
        return False
    ways = [(url.scheme, port_of(url)) for url in (before, after)]
    return ways[0] == ways[1] or ways == [("http", 80), ("https", 443)]


def _place(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii")


def _text(body: bytes, charset: str | None, *, whole: bool) -> str:
    """What a body says; bytes that are no text are replaced, and a character that was cut off is left out."""
    try:
        codec = codecs.lookup(charset or "utf-8")
    except (LookupError, ValueError):
        codec = codecs.lookup("utf-8")
    if not _CHARSETS.fullmatch(codec.name):
        codec = codecs.lookup("utf-8")
    return codec.incrementaldecoder("replace").decode(body, final=whole)
