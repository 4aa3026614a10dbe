"""Who may ask: whoever knows the server's token, or was let in with it.

A program sends the token with every request. A browser sends it once and holds a cookie from then
on: when it was let in, a random name, and a code over both that only the token can make (HMAC).
So nothing is kept here, a restarted server or a second replica knows its people again, and another
token shuts everybody out. The token itself is in no cookie, page, log or process list: it comes
from the environment or a file, never from the command line.
"""

import hmac
import os
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.ports import is_loopback
from data_tools.errors import TokenError

TOKEN_VARIABLE = "CODEQA_TOKEN"
FEWEST_CHARS = 16  # of a token; shorter ones are words that somebody chose
SESSION_S = 30 * 24 * 3600  # how long a browser stays let in
CLOCK_SLACK_S = 300  # replicas' clocks differ by less

_TOKEN = re.compile(rf"[!-~]{{{FEWEST_CHARS},500}}")  # what a header can hold, no spaces
_COOKIE = re.compile(r"(\d{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Access:
    """A server's token, and the cookies that stand for it.

    :param token: the secret.
    :param made: whether it was made for this run, so that somebody has to be told.
    """

    token: str = field(repr=False)
    made: bool = False

    @property
    def cookie(self) -> str:
        """Name of the cookie; browsers send those of all ports of a host to each."""
        return f"codeqa_login_{self._code('name')[:8]}"

    def is_token(self, given: bytes) -> bool:
        """Tell whether that is the token, in a time that says nothing about it."""
        return hmac.compare_digest(given, self.token.encode())

    def let_in(self) -> str:
        """Make the value of a cookie for a browser that sent the token."""
        person = f"{time.time():.0f}.{secrets.token_hex(16)}"
        return f"{person}.{self._code(person)}"

    def person(self, cookie: str) -> str | None:
        """Return the random name that a cookie's value holds; None for what is none of ours."""
        match = _COOKIE.fullmatch(cookie)
        if match is None:
            return None
        since, name, code = match.groups()
        age_s = time.time() - int(since)
        in_time = -CLOCK_SLACK_S <= age_s <= SESSION_S
        ours = hmac.compare_digest(code, self._code(f"{since}.{name}"))
        return name if in_time and ours else None

    def _code(self, text: str) -> str:
        return hmac.digest(self.token.encode(), text.encode(), "sha256").hex()


def find_access(host: str, token_file: str | None = None) -> Access | None:
    """Return the access that `--token-file` or `CODEQA_TOKEN` settles.

    :param host: the address to serve at; where others reach it and there is no token, one is made.
    :return: None where none is needed: on loopback, nobody named a token.
    :raises TokenError: the file cannot be read, or what it or the variable holds is no secret.
    """
    if token_file is not None:
        return Access(_checked(_read(token_file), "the file of --token-file"))
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        return Access(_checked(token, TOKEN_VARIABLE))
    return None if is_loopback(host) else Access(secrets.token_urlsafe(32), made=True)


def check_access(host: str, access: Access | None) -> None:
    """Make sure that a server which others reach asks who they are.

    :raises ValueError: it would not.
    """
    if access is None and not is_loopback(host):
        raise ValueError(f"others reach {host}: give the access that they need")


def _read(file: str) -> str:
    try:
        return Path(file).read_text("ascii").strip()
    except OSError as error:
        # Its name is not repeated: somebody may have given the token itself.
        raise TokenError(
            f"cannot read the file of --token-file ({error.strerror}): check its name"
        ) from error
    except UnicodeDecodeError as error:
        raise TokenError(f"the file of --token-file holds no token: {_WANTED}") from error


def _checked(token: str, where: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise TokenError(f"{where} holds no token: {_WANTED}")
    return token


_WANTED = (
    f"it must be {FEWEST_CHARS} to 500 letters, digits and signs without spaces, such as "
    "`openssl rand -hex 24` prints"
)
