"""What stands in front of everything that the server answers: who may ask, and how much.

Nothing behind it is reached without the server's token, where one is asked for, but what
supervises a server: `/healthz` and `/readyz`. What is asked too often, too long, or by pages of
other sites is refused; no fault shows more than that there was one. Every route is guarded, those
of Gradio too, because the guard knows none of them: what it does not let in reaches no route.

A server on loopback is for this machine alone. A page of another site could still reach it
through the browser of whoever sits here: by a name of its own that resolves to 127.0.0.1 (DNS
rebinding), or by sending it a form. Both are told by their headers and refused.

The page shows what repositories and models wrote. Should any of it ever get past the escaping, the
policy lets a browser load nothing from, and send nothing to, another host. It allows scripts in the
page and `eval`, since Gradio makes its templates by both.
"""

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from app.access import Access, check_access
from app.api_errors import busy_response, error_response
from app.login import Entrance
from app.ports import LOOPBACK_HOSTS, is_loopback
from app.rate_limits import RateLimits, kind_of, person_at
from app.request_body import (
    MAX_BODY_BYTES,
    BodyTooLargeError,
    ClientGoneError,
    has_body,
    read_body,
    replay,
)
from data_tools.errors import BusyError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # what supervises a server knows no names
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src 'none'; "
    "frame-src 'none'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
NO_STORE = (b"cache-control", b"no-store")
LIBRARY_FILES = ("/assets/", "/static/", "/theme.css")  # of Gradio, the same for everyone


class Guard:
    """Middleware that passes on what may be asked, and says of the rest why it is refused."""

    def __init__(
        self,
        app: "ASGIApp",
        *,
        host: str,
        access: Access | None = None,
        rates: RateLimits | None = None,
        names: Collection[str] = (),
    ) -> None:
        """Guard `app`.

        :param host: the address that is served at; on any but loopback, all names are ours.
        :param access: who may ask; None for whoever reaches the server.
        :param rates: how often; None for the usual limits.
        :param names: of this server on loopback, besides its own.
        :raises ValueError: others reach the server, and it would ask nobody who they are.
        """
        check_access(host, access)
        self._app = app
        self._names = LOOPBACK_HOSTS | {host, *names} if is_loopback(host) else None
        self._rates = rates or RateLimits()
        self._entrance = Entrance(access, self._rates) if access else None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or refuse it; the policy goes with every reply."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})  # there is none
            else:
                await self._app(scope, receive, send)
            return
        begun = False
        private = not scope["path"].startswith(LIBRARY_FILES)

        async def send_guarded(message: "Message") -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": _headers(message["headers"], private)}
            await send(message)

        try:
            headers = dict(scope["headers"])
            answer = self._refuse_stranger(scope, headers) or self._find(scope, headers)
            if answer is self._app and has_body(scope):
                receive = replay(await read_body(scope, receive), receive)
            await answer(scope, receive, send_guarded)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            refusal = error_response(413, f"that is too long: {MAX_BODY_BYTES // 10**6} MB at most")
            await refusal(scope, receive, send_guarded)
        except Exception as error:
            if begun:
                raise  # the connection is cut, so that nobody takes a half for the whole
            log.exception("a request could not be answered", exc_info=error)
            fault = error_response(500, "something went wrong: the server's log has the details")
            await fault(scope, receive, send_guarded)

    def _refuse_stranger(self, scope: "Scope", headers: dict[bytes, bytes]) -> JSONResponse | None:
        """Refuse what pages of other sites ask for."""
        if scope["path"] in OPEN_PATHS:
            return None
        changes = scope["method"] not in ("GET", "HEAD")
        if changes and headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
            return error_response(403, "pages of other sites may not use this server")
        if self._names is None:
            return None
        host = headers.get(b"host", b"").decode("latin-1")
        if _name_in(f"//{host}") not in self._names:
            return error_response(
                421, f"this server is localhost, not {host[:100]}: ask it by that name"
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and changes and _name_in(origin) not in self._names:
            return error_response(403, f"pages of {origin[:100]} may not use this server")
        return None

    def _find(self, scope: "Scope", headers: dict[bytes, bytes]) -> "ASGIApp":
        """Choose what answers: the app, the entrance, or a refusal."""
        if scope["path"] in OPEN_PATHS:
            return self._app
        try:
            person: str | None = person_at(scope.get("client"))
            if self._entrance is not None:
                person = self._entrance.recognize(scope, headers)
                if person is None or self._entrance.is_asked(scope):
                    return self._entrance
            if kind := kind_of(scope["method"], scope["path"]):
                self._rates.check(kind, person or "")
        except BusyError as error:
            return busy_response(error)
        scope.setdefault("state", {})["person"] = person
        return self._app


def _headers(headers: "list[tuple[bytes, bytes]]", private: bool) -> "list[tuple[bytes, bytes]]":
    """Add the policy to a reply's headers, and take out what lets other sites read it."""
    kept = [pair for pair in headers if not pair[0].startswith(b"access-control-")]
    if private and all(name != b"cache-control" for name, _ in kept):
        kept.append(NO_STORE)
    return [*kept, *HEADERS]


def _name_in(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
