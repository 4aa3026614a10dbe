"""How a git server is reached: at addresses that were judged, with credentials told to it alone.

The host is looked up once and git is held to what was found; its redirects are not followed by git
but asked for here, so that each host they lead to is judged too. Credentials come from the URL,
from `GIT_TOKEN` or from the user's own git set-up; they travel in the environment of git, where
only the host that asks is told them, and are written nowhere.
"""

import os
import re
import shlex
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from data_tools.errors import SourceError
from data_tools.git_commands import (
    SSH_QUIET,
    Config,
    has_ssh_command,
    network_environment,
    user_setting,
)
from data_tools.git_folder import check_git_folder
from data_tools.hosts import (
    DEFAULT_PORTS,
    UnknownHostError,
    check_scheme,
    find_addresses,
    private_allowed,
)
from data_tools.sources import plain_location, split_spec
from data_tools.web_address import canonical_url, origin_of
from data_tools.web_fetch import Fetcher, NotFetchedError

MIN_TOKEN_CHARS = 20  # a user name alone in a URL is a token if it is as long as one
MOVED_S = 20.0  # to ask where a repository has moved
_REFS = "/info/refs"  # what git asks for first
_SSH_ALONE = re.compile(r"(?:(?P<user>[^@]*)@)?(?P<host>[^:]+):")  # `user@host:path`
_TOKEN_USER = "x-access-token"  # any name will do where a token is the password
# Run by git when a host asks: nothing of this is written to a file or shown to other users.
_CREDENTIAL_HELPER = (
    '!f() { if test "$1" = get; then printf "username=%s\\npassword=%s\\n" '
    '"$CODEQA_GIT_USER" "$CODEQA_GIT_PASSWORD"; fi; }; f'
)


@dataclass(frozen=True)
class Access:
    """A repository's address, and what git must be told to reach it.

    :param url: without credentials.
    :param environment: for `open_git`.
    :param login: `user:password` as the URL held it; never shown.
    """

    url: str
    environment: dict[str, str]
    login: str = ""

    def __repr__(self) -> str:
        return f"Access({self.url!r})"


def reach(url: str, *, give_token: bool = True) -> Access:
    """Judge where `url` leads, and make the surroundings in which git goes there and nowhere else.

    :param url: as `split_spec` returns it; with credentials, if the user gave them there.
    :param give_token: tell the host `GIT_TOKEN`, if it asks.
    :raises SourceError: it may not be spoken to, is not known, or the credentials are none.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        folder = Path(unquote(rest))
        if not folder.is_dir():
            raise SourceError(
                f"{url} does not exist or is not a git repository; check its spelling"
            )
        check_git_folder(folder)
        return Access(url, network_environment(protocols="file"))
    location, _ = split_spec(url)  # an index may have been altered since this was done
    clean = plain_location(location)
    if scheme not in ("http", "https"):
        return Access(clean, _ssh_environment(clean))
    parts = urlsplit(location)
    login, _, authority = parts.netloc.rpartition("@")
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[scheme]
    config: Config = (("http.followRedirects", "false"),)
    if pinned := _pin(clean, host, port, proxied=_is_proxied(clean, scheme, authority)):
        config += (("http.curloptResolve", f"{host}:{port}:{','.join(pinned)}"),)
    check_scheme(scheme, authority)
    user, password = _credentials(login, clean, give_token=give_token)
    scope = f"credential.{scheme}://{authority}"
    secret: dict[str, str] = {}
    if password:
        # The empty one keeps helpers of the user's from storing what is not theirs.
        config += ((f"{scope}.helper", ""), (f"{scope}.helper", _CREDENTIAL_HELPER))
        secret = {"CODEQA_GIT_USER": user or _TOKEN_USER, "CODEQA_GIT_PASSWORD": password}
    elif user:
        config += ((f"{scope}.username", user),)
    # The user's own configuration may send https by ssh.
    protocols = "https:ssh:http" if private_allowed() else "https:ssh"
    return Access(clean, network_environment(config, protocols=protocols) | secret, login)


def follow(access: Access) -> Access:
    """Ask where a repository has moved that git was redirected from; credentials stay behind.

    They go along to where the same server, over the same or a safer scheme, has it now.

    :raises SourceError: that cannot be told without a login, or must not be spoken to.
    """
    moved = None
    try:
        with Fetcher(access.url, max_seconds=MOVED_S) as fetcher:
            asked = canonical_url(access.url.rstrip("/") + _REFS) or access.url
            moved = fetcher.fetch(asked, types=(), query="service=git-upload-pack").url
    except NotFetchedError as error:
        moved = error.leads_to
    url = (moved or "").removesuffix(_REFS)
    if not moved or url == moved or url == canonical_url(access.url):
        raise SourceError(f"{access.url} has moved; give the address where it is now")
    if not origin_of(access.url).leads_to(origin_of(url)):
        return reach(url, give_token=False)
    login = f"{access.login}@" * bool(access.login)
    return reach(url.replace("://", f"://{login}", 1))


def _pin(url: str, host: str, port: int, *, proxied: bool) -> tuple[str, ...]:
    """Return the addresses that git is to use for a host; none where a proxy chooses them."""
    try:
        found = find_addresses(host, port)
    except UnknownHostError as error:
        if proxied:  # the proxy knows names that are not known here
            return ()
        raise SourceError(f"cannot reach {url}; check its spelling and the network") from error
    return tuple(f"[{address}]" if ":" in address else address for address in found)


def _is_proxied(url: str, scheme: str, authority: str) -> bool:
    """Tell whether the user has set a proxy for an address."""
    set_up = urllib.request.getproxies()
    if (scheme in set_up or "all" in set_up) and not urllib.request.proxy_bypass(authority):
        return True
    return bool(user_setting("--get-urlmatch", "http.proxy", url))


def _credentials(login: str, clean: str, *, give_token: bool) -> tuple[str, str]:
    """Return user and password, as far as they are given.

    :raises SourceError: they hold a line break, by which they could be meant for another host.
    """
    name, _, secret = login.partition(":")
    user, password = unquote(name), unquote(secret)
    token = os.environ.get("GIT_TOKEN", "").strip() if give_token else ""
    if not password and token:
        password = token
    elif not password and len(user) >= MIN_TOKEN_CHARS:
        user, password = "", user
    if not (user + password).isprintable():
        raise SourceError(f"the credentials for {clean} hold characters that none can have")
    return user, password


def _ssh_environment(location: str) -> dict[str, str]:
    """Hold ssh to the address that its host stands for now.

    A command of the user's own cannot be held to it; and what another machine reaches for us
    cannot be judged, so that it is allowed with private addresses only.
    """
    if "://" in location:
        parts = urlsplit(location)
        user, host, port = parts.username, parts.hostname or "", parts.port
    else:
        found = _SSH_ALONE.match(location)
        user, host, port = (found["user"], found["host"], None) if found else (None, "", None)
    if private_allowed():
        return network_environment(protocols="ssh")
    if has_ssh_command():
        find_addresses(host, port or DEFAULT_PORTS["ssh"])
        return network_environment(protocols="ssh")
    settings = _ssh_settings(user, host, port)
    if settings.get("proxyjump") or settings.get("proxycommand"):
        raise SourceError(
            f"{host} is reached through another machine, so its address cannot be checked; allow "
            "it with --allow-private"
        )
    name, number = settings.get("hostname", host), int(settings.get("port", port or 22))
    address = find_addresses(name, number)[0]
    known_as = settings.get("hostkeyalias") or (name if number == 22 else f"[{name}]:{number}")
    options = ("-o", f"HostName={address}", "-o", f"HostKeyAlias={known_as}")
    environment = network_environment(protocols="ssh")
    words = ("ssh", *options, *(SSH_QUIET if "GIT_SSH_COMMAND" in environment else ()))
    return environment | {"GIT_SSH_COMMAND": shlex.join(words)}


def _ssh_settings(user: str | None, host: str, port: int | None) -> dict[str, str]:
    """Ask ssh what the user's configuration says of a host: it may be another's short name."""
    words = ["ssh", "-G", *(("-p", str(port)) if port else ()), *(("-l", user) if user else ())]
    try:
        found = subprocess.run(
            [*words, "--", host.strip("[]")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):  # git will say what is wrong with it
        return {}
    lines = (line.partition(" ") for line in found.stdout.splitlines())
    return {name: value for name, _, value in lines}
