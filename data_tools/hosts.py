"""Which servers may be spoken to: those of the internet, over https and ssh, if no more is allowed.

An address that a person types, that a page redirects to or that stands in an index may mean this
machine or its network. So a name is looked up once, what it stands for is judged, and the caller
connects to that address: the name cannot come to mean another one in between. `--allow-private`
(`CODEQA_ALLOW_PRIVATE=1`) allows private addresses and plain http. Addresses at which clouds hand
credentials to whoever asks, and those that are no single machine's, are never spoken to.
"""

import ipaddress
import os
import re
import socket

from data_tools.errors import SourceError

ALLOW_PRIVATE = "CODEQA_ALLOW_PRIVATE"
DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22}
# Link-local ones are refused as a range. Azure's looks public, the others look like a network's.
_METADATA = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "100.100.100.200")))
_METADATA_6 = ipaddress.ip_network("fd00:ec2::/32")
_INTERNET_6 = ipaddress.ip_network("2000::/3")  # all that is given out to machines so far
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # its last 32 bits are an IPv4 address (RFC 6052)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_NUMBER = re.compile(r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)$")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UnknownHostError(SourceError):
    """No such name is known; another try may help."""


def private_allowed() -> bool:
    """Tell whether private addresses and plain http are allowed."""
    return os.environ.get(ALLOW_PRIVATE, "").lower() in ("1", "true", "yes")


def allow_private() -> None:
    """Allow them, here and in the processes that this one starts."""
    os.environ[ALLOW_PRIVATE] = "1"


def check_scheme(scheme: str, host: str) -> None:
    """Refuse what can be read and changed on its way.

    :raises SourceError: it is plain http, which is not allowed.
    """
    if scheme == "http" and not private_allowed():
        raise SourceError(
            f"what {host} sends over http can be changed on its way: write https://{host}, or "
            "allow it with --allow-private"
        )


def canonical_host(host: str) -> str:
    """Write a host in the one way that no two programs read differently.

    :param host: a name or an address, as it stands in a URL, an IPv6 address in its brackets.
    :return: ASCII, a name of other letters as `xn--…`, without a dot at its end.
    :raises SourceError: it is none, or a number that only some programs take for an address.
    """
    try:
        if host.startswith("[") and host.endswith("]") and "%" not in host:
            return f"[{ipaddress.IPv6Address(host[1:-1])}]"
        plain = host if host.isascii() else host.encode("idna").decode("ascii")
        plain = plain.removesuffix(".")
        if _NUMBER.match(plain.rpartition(".")[2]):
            return str(ipaddress.IPv4Address(plain))
    except ValueError as error:  # UnicodeError is one
        raise SourceError(f"not a host: {ascii(host)}; write its name, or four numbers") from error
    if not _HOST.fullmatch(plain) or ".." in plain or len(plain) > 253:
        raise SourceError(f"not a host: {ascii(host)}; check the address")
    return plain


def find_addresses(host: str, port: int) -> tuple[str, ...]:
    """Look up which addresses of a host may be connected to.

    :param host: as `canonical_host` returns it, an IPv6 address with or without its brackets.
    :return: at least one, the best first: public ones, or private ones where they are allowed.
    :raises UnknownHostError: it cannot be looked up.
    :raises SourceError: none of its addresses may be connected to.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnknownHostError(
            f"cannot reach {host}; check its spelling and the network"
        ) from error
    texts = dict.fromkeys(str(entry[4][0]) for entry in found)
    if public := tuple(text for text in texts if is_public(text)):
        return public
    usable = tuple(text for text in texts if not _is_forbidden(_unwrap(text)))
    if usable and private_allowed():
        return usable
    shown = host if host.strip("[]") in texts else f"{host} ({next(iter(texts))})"
    if not usable:
        raise SourceError(f"{shown} is an address that is never asked; give another one")
    raise SourceError(
        f"{shown} is a private address, of this machine or its network; allow such with "
        f"--allow-private ({ALLOW_PRIVATE}=1)"
    )


def is_public(address: str) -> bool:
    """Tell whether an address is one machine's of the internet."""
    plain = _unwrap(address)
    if isinstance(plain, ipaddress.IPv6Address):
        return plain in _INTERNET_6 and plain.is_global
    return plain.is_global and not plain.is_multicast and plain not in _METADATA


def _is_forbidden(plain: Address) -> bool:
    """Tell whether an address is one that nothing allows."""
    is_cloud = plain in _METADATA or plain in _METADATA_6
    is_many = plain.is_multicast or plain.is_unspecified or str(plain) == "255.255.255.255"
    return plain.is_link_local or is_cloud or is_many


def _unwrap(address: str) -> Address:
    """Read an address; one of IPv4 that is wrapped in one of IPv6 is taken out of it."""
    plain = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(plain, ipaddress.IPv4Address):
        return plain
    if plain in _NAT64:
        return ipaddress.IPv4Address(int(plain) & 0xFFFFFFFF)
    return plain.ipv4_mapped or plain.sixtofour or (plain.teredo or (plain, plain))[1]
