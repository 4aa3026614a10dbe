"""Addresses of git repositories, read in the one way that git, curl and ssh read them too.

Programs differ in where a host ends that a stray `#` follows, or in whether `0x7f.1` is one: what
could be read in two ways is refused, so that the host that was judged is the host that is asked.
A path or user that ssh or a shell could take for an option or a command is refused too.
"""

import re
import string
from pathlib import Path
from urllib.parse import quote, unquote

from data_tools.errors import SourceError
from data_tools.hosts import canonical_host

SCHEMES = ("https", "http", "ssh", "file")
_SSH_ADDRESS = re.compile(r"^(?a:[\w.-]+)@\w[\w.-]*:(?!//)")
_BROWSER_PATH = re.compile(
    r"^(?P<repo>/[^/]+/.+?)(?:/-)?/(?:tree|commits?|releases/tag|src/(?:branch|commit|tag))/"
    r"(?P<ref>.+)$"
)
_REF_SIGN = re.compile(r"(?<!/)@")  # after a slash it begins a name: `host/@scope/name`
_AUTHORITY = re.compile(
    r"(?P<login>(?:[^/?#\\\s]*@)?)(?P<host>\[[^\]@]*\]|[^:@\[\]]+)(?::(?P<port>[0-9]{0,5}))?"
)
_SSH_LOGIN = re.compile(r"(?:[\w.+~][\w.+~-]*(?::[^@]*)?@)?", re.ASCII)
_PASSWORD = re.compile(r":.*@", re.DOTALL)  # wherever it ends: what is shown here is wrong anyway


def is_ssh_address(text: str) -> bool:
    """Tell whether this is ssh's short form: `user@host:path`."""
    return bool(_SSH_ADDRESS.match(text))


def split_ssh_address(spec: str) -> tuple[str, str | None]:
    """Split `user@host:path[@REF]` into the address and the ref.

    :raises SourceError: its host is none, or its path would be taken for an option.
    """
    _refuse_invisible(spec)
    login, _, path = spec.partition(":")
    path, ref = split_ref(path)
    user, _, host = login.partition("@")
    if path.startswith("-") or user.startswith("-"):
        raise SourceError(f"not a repository: {shown(spec)}; its path cannot begin with -")
    return f"{user}@{canonical_host(host)}:{path}", ref


def split_url(spec: str) -> tuple[str, str | None]:
    """Split `scheme://…[@REF]` into the URL and the ref.

    :raises SourceError: its scheme is not one of `SCHEMES`, or its host, port or user is none.
    """
    scheme, _, rest = spec.partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise SourceError(f"cannot clone over {scheme!r}; use an https, ssh or file URL, or a path")
    _refuse_invisible(spec)
    authority, slash, path = rest.partition("/")
    if scheme == "file" and _exists(Path(unquote(slash + path))):
        ref = None
    else:
        path, ref = split_ref(slash + path)
        path = path.removeprefix("/")
    if scheme in ("http", "https"):
        path = re.split("[?#]", path, maxsplit=1)[0]
        browser = _BROWSER_PATH.match("/" + path)
        if not ref and browser:
            path, ref = browser["repo"].removeprefix("/"), browser["ref"].rstrip("/")
    if scheme != "file":
        authority = _read_authority(scheme, authority, spec)
    return f"{scheme}://{authority}{slash}{path}".rstrip("/"), ref


def split_ref(text: str) -> tuple[str, str | None]:
    """Split at the first sign, as tags may hold more of them (`name@1.2.3`)."""
    path, *ref = _REF_SIGN.split(text, maxsplit=1)
    return path, (ref[0] or None) if ref else None


def shown(spec: str) -> str:
    """Quote what was typed, in ASCII, without what may be a password."""
    return ascii(_PASSWORD.sub(":***@", spec))


def _refuse_invisible(spec: str) -> None:
    """Refuse letters that are not seen, or turn around what stands beside them."""
    if not spec.isprintable():
        raise SourceError(f"not a repository: {shown(spec)}; it holds letters that are not seen")


def _read_authority(scheme: str, authority: str, spec: str) -> str:
    parts = _AUTHORITY.fullmatch(authority)
    if (
        parts is None
        or int(parts["port"] or 1) not in range(1, 65_536)
        or (scheme == "ssh" and not _SSH_LOGIN.fullmatch(parts["login"]))
    ):
        raise SourceError(f"not a repository: {shown(spec)}; check its host and port")
    port = f":{parts['port']}" * bool(parts["port"])
    login = quote(parts["login"], safe=string.punctuation)  # letters beyond ASCII as a URL has them
    return f"{login}{canonical_host(parts['host'])}{port}"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that is closed to us
        return False
