"""Addresses to serve at: whether one can be had, which port is free, who can reach it."""

import socket
from ipaddress import ip_address

from data_tools.errors import PortInUseError

LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
ANY_HOSTS = {"0.0.0.0", "::", ""}  # of all networks that this machine is in


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_port(host: str, port: int) -> None:
    """Check that something can be served there.

    :raises PortInUseError: it cannot.
    """
    _bind(host, port)


def free_port(host: str) -> int:
    """Find a port that nothing is served at.

    :raises PortInUseError: the host is not this machine's.
    """
    return _bind(host, 0)


def address(host: str, port: int) -> str:
    """Write the URL that reaches a server from this machine."""
    if host in ANY_HOSTS:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind(host: str, port: int) -> int:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise PortInUseError(
            f"cannot serve at {host}:{port} ({error.strerror}): choose another with --port, "
            "or stop what runs there"
        ) from error
