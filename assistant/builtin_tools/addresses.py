"""What a name resolves to, and which addresses belong to the public internet."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Thread

from assistant.deadline import Deadline
from assistant.errors import ToolFailed

#: From a name and a port to addresses in their usual spelling; raises OSError when there are none.
Resolve = Callable[[str, int], Sequence[str]]
_Address = IPv4Address | IPv6Address

# The registries of special addresses at IANA, and not `is_global`: its answers changed between Python's releases.
_SPECIAL_V4 = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's metadata, the one such service at an address that looks public
    )
)  # fmt: skip
#: The only IPv6 addresses that are routed between networks; NAT64, loopback, local and multicast are outside of it.
_UNICAST_V6 = ip_network("2000::/3")
_SPECIAL_V6 = tuple(ip_network(each) for each in ("2001::/23", "2001:db8::/32", "3fff::/20"))


def system_resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name as the system's resolver gives them, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[4][0]) for place in found))


def is_public(address: _Address) -> bool:
    """Whether an address belongs to the public internet; one that holds an IPv4 address is judged by that."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    held = address.ipv4_mapped or address.sixtofour
    if held is not None:
        return is_public(held)
    return address in _UNICAST_V6 and not any(address in network for network in _SPECIAL_V6)


def addresses_of(host: str, port: int, resolve: Resolve, deadline: Deadline) -> list[_Address]:
    """Every address of a host, which may be a name or an address itself.

    Raises:
        ToolFailed: it has none.
        ToolTimedOut: the resolver does not answer in time.
    """
    try:
        return [ip_address(host)]
    except ValueError:  # a name, or an unusual spelling that the resolver may understand
        pass
    try:
        found = [ip_address(each) for each in _in_time(resolve, host, port, deadline)]
    except TimeoutError as exc:
        raise deadline.error() from exc
    except (OSError, ValueError) as exc:
        raise ToolFailed(f"The host {host!r} cannot be found.") from exc
    if not found:
        raise ToolFailed(f"The host {host!r} cannot be found.")
    return found


def _in_time(resolve: Resolve, host: str, port: int, deadline: Deadline) -> Sequence[str]:
    """Resolve in a thread, since the system's resolver takes no time limit."""
    answer: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            answer.set_result(resolve(host, port))
        except (OSError, ValueError) as exc:
            answer.set_exception(exc)

    Thread(target=run, name="resolver", daemon=True).start()
    return answer.result(deadline.left())
