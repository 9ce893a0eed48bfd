"""The tool for requests reaches the allowed hosts at public addresses, and nothing else."""

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2
import pytest

from assistant.builtin_tools.addresses import is_public
from assistant.builtin_tools.checked_transport import CheckedTransport
from assistant.builtin_tools.http_request import HttpRequest
from assistant.deadline import Deadline
from assistant.errors import SettingsInvalid, ToolFailed, ToolTimedOut

_PUBLIC, _OTHER = "93.184.215.14", "151.101.1.140"


@dataclass
class Site:
    """A server on loopback that answers by path, and keeps what it was asked."""

    #: What to do at a path; "ok" elsewhere.
    pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    #: Method, path, headers and body of each request.
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.asked.append((self.command, self.path, headers, body))
                site.pages.get(self.path, page(b"ok"))(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


def page(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def redirect(location: str, status: int = 302) -> Callable[[BaseHTTPRequestHandler], None]:
    return page(b"", status, location=location)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@dataclass
class Internet:
    """Names with their addresses, and the one site behind the public addresses."""

    site: Site
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    resolved: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """A name's answers one after the other, and the last for ever."""
        self.resolved.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise socket.gaierror("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def tool(self, *allowed: str, **limits: Any) -> HttpRequest:
        return HttpRequest(allowed_hosts=allowed, resolve=self.resolve, **limits)


@pytest.fixture
def internet(site: Site, monkeypatch: pytest.MonkeyPatch) -> Internet:
    """Connections to public addresses reach the site; none leaves this machine."""
    made = Internet(site)
    connect = socket.create_connection

    def reach(address: tuple[str, int], timeout: float) -> socket.socket:
        made.connected.append(address)
        if address[0] not in (_PUBLIC, _OTHER):
            raise AssertionError(f"connected to {address}")
        return connect(("127.0.0.1", site.port), timeout)

    monkeypatch.setattr(socket, "create_connection", reach)
    return made


def local(site: Site, **limits: Any) -> tuple[HttpRequest, str]:
    """A tool that may reach the site on loopback, and the site's address."""
    return HttpRequest(allowed_hosts=["127.0.0.1"], allow_private=True, **limits), f"http://127.0.0.1:{site.port}"


def test_an_answer(site: Site) -> None:
    site.pages["/a?b=c"] = page("é".encode(), 201, content_type="text/plain", set_cookie="a=b", retry_after="7")
    tool, address = local(site)
    assert tool(f"{address}/a?b=c#d", "post", {"X-Kind": "test"}, "ü") == {
        "status": 201,
        "headers": {"content-type": "text/plain", "content-length": "2", "retry-after": "7"},
        "body": "é",
        "truncated": False,
    }
    [(method, path, headers, body)] = site.asked
    assert (method, path, body) == ("POST", "/a?b=c", "ü".encode())
    assert (headers["x-kind"], headers["host"]) == ("test", f"127.0.0.1:{site.port}")
    assert "cookie" not in headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_methods(site: Site, method: str) -> None:
    tool, address = local(site)
    assert tool(address, method)["body"] == ("" if method == "HEAD" else "ok")
    assert site.asked[0][0] == method


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://public.test/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://public.test/", "scheme"),
        ("//public.test/", "scheme"),
        ("public.test", "scheme"),
        ("", "scheme"),
        ("http://", "no host"),
        ("http:///path", "no host"),
        ("http://user@public.test/", "no user"),
        ("http://user:password@public.test/", "no user"),
        ("http://public.test\\@elsewhere.test/", "no user"),
        ("http://public.test@elsewhere.test/", "no user"),
        ("http://elsewhere.test/", "not allowed"),
        ("http://elsewhere.test/http://public.test/", "not allowed"),
        ("http://elsewhere.test#public.test", "not allowed"),
        ("http://public.test.elsewhere.test/", "not allowed"),
        ("http://notpublic.test/", "not allowed"),
        ("http://any.test/", "not allowed"),
        ("http://notany.test/", "not allowed"),
        ("http://port.test/", "not allowed"),
        ("https://port.test:8080/", "cannot be found"),
        ("http://public.test%00.elsewhere.test/", "no host"),
        ("http://public%2etest/", "no host"),
        ("http://public.test/\n", "not valid"),
        ("http://public.test/\ud800", "not valid"),
        ("http://[::1/", "not valid"),
        ("http://public.test:99999/", "no port"),
        ("http://public.test:0/", "no port"),
        ("http://public.test:-1/", "no port"),
        ("http://public.test:x/", "not valid"),
        ("http://public..test/", "no host"),
    ],
)
def test_urls_that_are_refused(internet: Internet, url: str, reason: str) -> None:
    tool = internet.tool("public.test", "*.any.test", "port.test:8080")
    internet.names = {"public.test": [[_PUBLIC]], "elsewhere.test": [[_PUBLIC]]}
    with pytest.raises(ToolFailed, match=reason):
        tool(url)
    assert internet.connected == []


def test_allowed_names(internet: Internet) -> None:
    tool = internet.tool("Public.Test", "*.any.test", "port.test:8080", "bücher.test")
    names = ["public.test", "a.any.test", "a.b.any.test", "port.test", "xn--bcher-kva.test"]
    internet.names = {name: [[_PUBLIC]] for name in names}
    for url in (
        "http://public.test", "HTTP://PUBLIC.TEST./x", "http://public.test:81/", "http://a.any.test/",
        "http://a.b.any.test/", "http://port.test:8080/", "http://bücher.test/",
    ):  # fmt: skip
        assert tool(url)["body"] == "ok"
    assert set(internet.resolved) == set(names)
    assert internet.connected[2:4] == [(_PUBLIC, 81), (_PUBLIC, 80)]
    assert [asked[2]["host"] for asked in internet.site.asked][:3] == ["public.test", "public.test", "public.test:81"]


@pytest.mark.parametrize("pattern", ["", "*", "http://a.test", "a.test/b", "u@a.test", "a.*.test", "a.test:x", "[::1"])
def test_allowed_names_that_cannot_be_read(pattern: str) -> None:
    with pytest.raises(SettingsInvalid, match="is no host"):
        HttpRequest(allowed_hosts=[pattern])


@pytest.mark.parametrize(
    ("method", "headers", "body", "reason"),
    [
        ("TRACE", {}, None, "method"),
        ("CONNECT", {}, None, "method"),
        ("GET / HTTP/1.1\r\nX: y", {}, None, "method"),
        *[
            ("GET", {name: "x"}, None, "not for you")
            for name in (
                "Host", "host", "Connection", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
                "Transfer-Encoding", "Upgrade", "Content-Length", "Expect",
            )
        ],
        ("GET", {"X\r\nHost": "x"}, None, "no valid header"),
        ("GET", {"X": "a\r\nHost: b"}, None, "no valid header"),
        ("GET", {"Host ": "x"}, None, "no valid header"),
        ("GET", {"": "x"}, None, "no valid header"),
        ("GET", {"X": "é"}, None, "no valid header"),
        ("POST", {}, "\ud800", "not valid"),
    ],
)  # fmt: skip
def test_requests_that_are_refused(
    internet: Internet, method: str, headers: dict[str, str], body: str | None, reason: str
) -> None:
    internet.names = {"public.test": [[_PUBLIC]]}
    with pytest.raises(ToolFailed, match=reason):
        internet.tool("public.test")("http://public.test/", method, headers, body)
    assert internet.connected == []


_PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "168.63.129.16", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1", "64:ff9b::5db8:d70e", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::",
    "2001::1", "2001:db8::1", "2001:10::1", "3fff::1", "100::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0",
    "fec0::1", "ff02::1", "5f00::1", "4000::1",
]  # fmt: skip


def test_addresses_that_are_not_public() -> None:
    assert [each for each in _PRIVATE if is_public(ip_address(each))] == []
    public = [_PUBLIC, "8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"]
    assert [each for each in public if not is_public(ip_address(each))] == []


@pytest.mark.parametrize("address", _PRIVATE)
def test_names_of_private_addresses_are_refused(internet: Internet, address: str) -> None:
    internet.names = {"public.test": [[_PUBLIC, address]]}
    with pytest.raises(ToolFailed, match="not public"):
        internet.tool("public.test")("http://public.test/")
    assert internet.connected == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0",
        "localhost", "localhost.", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "[fe80::1]", "0.0.0.0",
        "127.0.0.1.", "①②⑦.⓪.⓪.①", "127。0。0。1",
    ],
)  # fmt: skip
def test_spellings_of_this_machine_are_refused(site: Site, host: str) -> None:
    """Even where the list allows them, and by the system's own resolver."""
    with pytest.raises((ToolFailed, SettingsInvalid)):
        HttpRequest(allowed_hosts=[host])(f"http://{host}:{site.port}/")
    assert site.asked == []


def test_private_addresses_where_they_are_meant(site: Site) -> None:
    tool = HttpRequest(allowed_hosts=["localhost"], allow_private=True)
    assert tool(f"http://localhost:{site.port}/")["body"] == "ok"


def test_a_name_is_resolved_once(internet: Internet) -> None:
    """A resolver that answers public first and private then: the connection goes where the check went."""
    internet.names = {"public.test": [[_PUBLIC], ["127.0.0.1"]]}
    tool = internet.tool("public.test")
    assert tool("http://public.test/")["body"] == "ok"
    assert (internet.resolved, internet.connected) == (["public.test"], [(_PUBLIC, 80)])
    with pytest.raises(ToolFailed, match="not public"):
        tool("http://public.test/")
    assert len(internet.connected) == 1


def test_a_redirect_is_resolved_anew(internet: Internet) -> None:
    internet.names = {"public.test": [[_PUBLIC], ["127.0.0.1"]]}
    internet.site.pages["/"] = redirect("/again")
    with pytest.raises(ToolFailed, match="not public"):
        internet.tool("public.test")("http://public.test/")
    assert [asked[1] for asked in internet.site.asked] == ["/"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://127.0.0.1/", "not public"),
        ("http://inside.test/", "not public"),
        ("//inside.test/", "not public"),
        ("http://metadata.test/latest", "not public"),
        ("http://[::ffff:127.0.0.1]/", "not allowed"),
        ("http://2130706433/", "not allowed"),
        ("http://elsewhere.test/", "not allowed"),
        ("https://user:pass@public.test/", "no user"),
        ("file:///etc/passwd", "scheme"),
        ("ftp://public.test/", "scheme"),
        ("http://[::1/", "no URL"),
        ("http://public.test:99999/", "no port"),
    ],
)
def test_redirects_that_are_refused(internet: Internet, location: str, reason: str) -> None:
    internet.names = {
        "public.test": [[_PUBLIC]], "inside.test": [["10.0.0.1"]], "metadata.test": [["169.254.169.254"]],
        "elsewhere.test": [[_PUBLIC]],
    }  # fmt: skip
    internet.site.pages["/"] = redirect(location)
    tool = internet.tool("public.test", "inside.test", "metadata.test", "127.0.0.1")
    with pytest.raises(ToolFailed, match=reason):
        tool("http://public.test/")
    assert internet.connected == [(_PUBLIC, 80)]


def test_five_redirects_are_followed(internet: Internet) -> None:
    internet.names = {"public.test": [[_PUBLIC]]}
    for number in range(6):
        internet.site.pages[f"/{number}"] = redirect(f"/{number + 1}")
    tool = internet.tool("public.test")
    assert tool("http://public.test/1")["body"] == "ok"
    with pytest.raises(ToolFailed, match="more than 5"):
        tool("http://public.test/0")
    assert len(internet.site.asked) == 6 + 6


def test_credentials_stay_with_their_host(internet: Internet) -> None:
    internet.names = {"public.test": [[_PUBLIC]], "other.test": [[_OTHER]]}
    pages = internet.site.pages
    pages["/within"] = redirect("/end", 307)
    pages["/out"] = redirect("http://other.test/back", 307)
    pages["/back"] = redirect("http://public.test/end", 307)
    pages["/port"] = redirect("http://public.test:81/end", 307)
    secret = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "k", "Accept": "text/plain"}
    tool = internet.tool("public.test", "other.test")
    for path in ("/within", "/out", "/port"):
        tool(f"http://public.test{path}", "POST", secret, "body")
    kept = {
        (path, headers["host"]): sorted({"authorization", "cookie", "x-api-key"} & set(headers))
        for _, path, headers, _ in internet.site.asked[1:]
    }
    assert kept == {
        ("/end", "public.test"): [], ("/out", "public.test"): ["authorization", "cookie", "x-api-key"],
        ("/back", "other.test"): [], ("/port", "public.test"): ["authorization", "cookie", "x-api-key"],
        ("/end", "public.test:81"): [],
    }  # fmt: skip
    within = internet.site.asked[1]
    assert (within[1], within[2]["authorization"], within[3]) == ("/end", "Bearer x", b"body")
    assert all(headers["accept"] == "text/plain" for _, _, headers, _ in internet.site.asked)


@pytest.mark.parametrize(
    ("status", "method", "followed"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "DELETE", "GET"), (303, "HEAD", "HEAD"),
        (302, "PUT", "PUT"), (307, "POST", "POST"), (308, "PATCH", "PATCH"), (301, "HEAD", "HEAD"),
    ],
)  # fmt: skip
def test_methods_after_redirects(internet: Internet, status: int, method: str, followed: str) -> None:
    internet.names = {"public.test": [[_PUBLIC]]}
    internet.site.pages["/"] = redirect("/end", status)
    internet.tool("public.test")("http://public.test/", method, {"Content-Type": "text/plain"}, "body")
    last, _, headers, body = internet.site.asked[-1]
    assert last == followed
    assert (body, "content-type" in headers) == ((b"body", True) if followed == method else (b"", False))


def test_a_redirect_that_leads_nowhere_is_an_answer(site: Site) -> None:
    site.pages["/"] = page(b"moved", 302)
    tool, address = local(site)
    assert (tool(address)["status"], tool(address)["body"]) == (302, "moved")


def test_long_bodies_are_cut(site: Site) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not site.closing.is_set():
            try:
                handler.wfile.write(b"x" * 10_000)
            except OSError:
                return

    site.pages = {
        "/endless": endless,
        "/whole": page(b"x" * 1000),
        "/long": page(b"x" * 1001),
        "/cut": page(b"x" * 999 + "é".encode()),
    }
    tool, address = local(site, max_bytes=1000)
    for path, length, truncated in (
        ("endless", 1000, True),
        ("whole", 1000, False),
        ("long", 1000, True),
        ("cut", 999, True),
    ):
        answer = tool(f"{address}/{path}")
        assert (answer["body"], answer["truncated"]) == ("x" * length, truncated)


def test_slow_answers_end_in_time(site: Site) -> None:
    def silent(handler: BaseHTTPRequestHandler) -> None:
        site.closing.wait()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        _dripped(handler, site)

    def drip_body(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        _dripped(handler, site)

    def slow_redirect(handler: BaseHTTPRequestHandler) -> None:
        site.closing.wait(0.1)
        redirect("/again")(handler)

    site.pages = {"/silent": silent, "/drip": drip, "/body": drip_body, "/again": slow_redirect}
    tool, address = local(site, timeout=0.3)
    for path in site.pages:
        started = time.monotonic()
        with pytest.raises(ToolTimedOut, match="longer than the"):
            tool(address + path)
        assert time.monotonic() - started < 2


def _dripped(handler: BaseHTTPRequestHandler, site: Site) -> None:
    while not site.closing.wait(0.05):
        try:
            handler.wfile.write(b"x")
        except OSError:
            return


def test_a_reader_that_does_not_read(site: Site) -> None:
    """Nobody accepts: the body fills the buffers, and the time ends."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        tool = HttpRequest(allowed_hosts=["127.0.0.1"], allow_private=True, timeout=0.3)
        with pytest.raises(ToolTimedOut):
            tool(f"http://127.0.0.1:{deaf.getsockname()[1]}/", "POST", None, "x" * 20_000_000)


def test_a_slow_resolver(internet: Internet) -> None:
    answered = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        answered.wait()
        return [_PUBLIC]

    with pytest.raises(ToolTimedOut):
        HttpRequest(allowed_hosts=["public.test"], resolve=resolve, timeout=0.1)("http://public.test/")
    answered.set()
    assert internet.connected == []


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"a\xff\xfeb", "text/plain", "a\ufffd\ufffdb"),
        (b"\xe9", "text/plain; charset=latin-1", "é"),
        ("漢字".encode("shift_jis"), "text/html; charset=Shift_JIS", "漢字"),
        ("é".encode("utf-16"), "text/plain; charset=utf-16", "é"),
        (zlib.compress(b"x" * 1000)[:2], "text/plain; charset=zlib", "x\ufffd"),
        (b"\xc3\xa9", "text/plain; charset=punycode", "é"),
        (b"\xc3\xa9", "text/plain; charset=none-such", "é"),
        (b"\xc3\xa9", "image/png", "é"),
    ],
)
def test_bodies_in_other_encodings(site: Site, body: bytes, kind: str, text: str) -> None:
    site.pages["/"] = page(body, content_type=kind)
    tool, address = local(site)
    assert tool(address)["body"] == text


def test_compressed_bodies(site: Site) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    site.pages = {
        "/gzip": page(gzip.compress(b"hello"), content_encoding="gzip"),
        "/deflate": page(zlib.compress(b"hello"), content_encoding="deflate"),
        "/bomb": page(bomb, content_encoding="gzip"),
        "/twice": page(gzip.compress(bomb), content_encoding="gzip, gzip"),
        "/brotli": page(b"hello", content_encoding="br"),
        "/wrong": page(b"hello", content_encoding="gzip"),
    }
    tool, address = local(site)
    assert tool(f"{address}/gzip")["body"] == tool(f"{address}/deflate")["body"] == "hello"
    cut = tool(f"{address}/bomb")
    assert (cut["body"], cut["truncated"]) == ("x" * 100_000, True)
    for path, reason in (("twice", "'gzip, gzip', which"), ("brotli", "'br', which"), ("wrong", "not the gzip")):
        with pytest.raises(ToolFailed, match=reason):
            tool(f"{address}/{path}")


def test_answers_that_are_no_http(site: Site) -> None:
    def raw(data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
        return lambda handler: handler.wfile.write(data) and None

    site.pages = {
        "/none": raw(b""),
        "/noise": raw(b"SSH-2.0-x\r\n\r\n"),
        "/short": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
        "/headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000),
    }
    tool, address = local(site)
    for path in site.pages:
        with pytest.raises(ToolFailed, match=r"^The (host does not speak|connection broke)[^\n]*\.$"):
            tool(address + path)


def test_hosts_that_cannot_be_reached(internet: Internet) -> None:
    internet.names = {"empty.test": [[]], "odd.test": [["no address"]]}
    for host in ("nowhere.test", "empty.test", "odd.test"):
        with pytest.raises(ToolFailed, match="cannot be found"):
            internet.tool(host)(f"http://{host}/")


def test_the_next_address_is_tried(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.2", site.port))  # it does not listen
        asked = {"allowed_hosts": ["any.test"], "allow_private": True}
        with pytest.raises(ToolFailed, match=r"cannot be reached: no connection to any\.test"):
            HttpRequest(resolve=lambda host, port: ["127.0.0.2"], **asked)(f"http://any.test:{site.port}/")
        tool = HttpRequest(resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"], **asked)
        assert tool(f"http://any.test:{site.port}/")["body"] == "ok"


def test_the_environment_is_not_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    tool, address = local(site)
    assert tool(address)["body"] == "ok"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_certificates_are_checked_for_the_name(site: Site, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=public.test"
    names = ["-addext", "subjectAltName=DNS:public.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    asked_for: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    site.server.socket = server.wrap_socket(site.server.socket, server_side=True)
    trusting = ssl.create_default_context(cafile=str(certificate))

    def get(host: str, context: ssl.SSLContext) -> httpx2.Response:
        with CheckedTransport(["127.0.0.1"], Deadline.after(5), context) as transport:
            answer = transport.handle_request(httpx2.Request("GET", f"https://{host}:{site.port}/"))
            answer.read()
            return answer

    assert get("public.test", trusting).text == "ok"
    assert (asked_for, site.asked[0][2]["host"]) == (["public.test"], f"public.test:{site.port}")
    with pytest.raises(ToolFailed, match="certificate is not valid: Hostname mismatch"):
        get("other.test", trusting)
    with pytest.raises(ToolFailed, match="certificate is not valid: self-signed"):
        get("public.test", httpx2.create_ssl_context(trust_env=False))
    assert len(site.asked) == 1
