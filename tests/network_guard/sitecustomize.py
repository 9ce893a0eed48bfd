"""Keeps every Python process that has this folder on its path from connecting to anything but this machine."""

import ipaddress
import socket


def _check(address: object) -> None:
    if not isinstance(address, tuple) or not address:
        return  # a Unix socket
    host = str(address[0]).partition("%")[0]
    if host in ("", "localhost"):
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise OSError(f"tests do not reach {host}")


class _GuardedSocket(socket.socket):
    def connect(self, address):
        _check(address)
        return super().connect(address)

    def connect_ex(self, address):
        _check(address)
        return super().connect_ex(address)

    def sendto(self, data, *rest):
        _check(rest[-1])
        return super().sendto(data, *rest)


_resolve = socket.getaddrinfo


def _guarded_resolve(host, *args, **kwargs):
    if host is not None:
        _check((host.decode() if isinstance(host, bytes) else host,))
    return _resolve(host, *args, **kwargs)


socket.socket = _GuardedSocket
socket.getaddrinfo = _guarded_resolve
