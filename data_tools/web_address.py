"""Addresses of web pages: written in one way, and told to lie within a site or not.

A crawl ends only if a page has one address: fragments and query strings are dropped, dots and
double slashes resolved, escapes written alike. What is no web address is None, not an error: pages
link to anything.
"""

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit

MAX_ADDRESS_CHARS = 2_000  # longer ones are made by programs, not by people
MAX_PATH_PARTS = 25  # nested folders; deeper ones are a loop of links
MAX_REPEATS = 3  # of one part of a path: `/a/b/a/b/a/b` is a loop too
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PATH_SAFE = "/:@!$&'()*+,=~-._"  # need no escape in a path (RFC 3986), `;` left out
_FILE_NAME = re.compile(r"[^/]*\.[A-Za-z]\w{1,4}$")  # the last part names a file: `index.html`


@dataclass(frozen=True)
class Origin:
    """A server: what must stay the same from page to page.

    :param host: lower case; an IPv6 address without its brackets.
    """

    scheme: str
    host: str
    port: int

    def leads_to(self, other: "Origin") -> bool:
        """Tell whether `other` is the same server, over http or from http over to https."""
        plain, secure = ("http", 80), ("https", 443)
        upgraded = (self.scheme, self.port) == plain and (other.scheme, other.port) == secure
        return self == other or (self.host == other.host and upgraded)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def origin_of(url: str) -> Origin:
    """Return the server of an address that `canonical_url` returned."""
    parts = urlsplit(url)
    return Origin(
        parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    )


def canonical_url(address: str, base: str = "") -> str | None:
    """Write an address in the one way that all addresses of its page are written in.

    :param address: as a link holds it, relative to `base`.
    :return: without credentials, query and fragment; None for what is no http or https address,
        or is so long or nested that only a loop of links makes it.
    """
    if len(address) > MAX_ADDRESS_CHARS:
        return None
    try:
        parts = urlsplit(urljoin(base, address.strip()))
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError):
        return None
    if parts.scheme not in _DEFAULT_PORTS or not host or not re.fullmatch(r"[\w.:-]+", host):
        return None
    path = unquote(parts.path, errors="replace")
    if not path.isprintable():
        return None
    folder = "/" if path.endswith(("/", "/.", "/..")) or not path else ""
    path = posixpath.normpath(f"/{path.lstrip('/')}").rstrip("/") + folder
    names = [name for name in path.split("/") if name]
    if len(names) > MAX_PATH_PARTS or any(names.count(name) > MAX_REPEATS for name in set(names)):
        return None
    origin = Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])
    return f"{origin}{quote(path or '/', safe=_PATH_SAFE)}"


def scope_of(url: str) -> str:
    """Return the path that all pages below `url` begin with: its folder, if it names a file."""
    path = urlsplit(url).path
    if _FILE_NAME.search(path):
        path = path[: path.rfind("/") + 1]
    return path if path.endswith("/") else path + "/"


def is_within(url: str, scope: str) -> bool:
    """Tell whether an address lies below the path `scope`, which ends with a slash."""
    path = urlsplit(url).path
    return path.startswith(scope) or path == scope.rstrip("/")


def readable_path(url: str, scope: str) -> str:
    """Name a page like the file it may have been written as: `guide/install.md`."""
    path = unquote(urlsplit(url).path)
    path = path.removeprefix(scope) if path.startswith(scope) else ""
    path = re.sub(r"\.(x?html?|php|aspx?|jsp)$", "", path.strip("/"), flags=re.IGNORECASE)
    return (path or "index") + ("" if path.endswith(".md") else ".md")
