"""What stands in front of everything that the server answers: who may ask, what a page may load.

The page shows what repositories and models wrote. Should any of it ever get past the escaping, the
policy lets a browser load nothing from, and send nothing to, another host.

A server on loopback is for this machine alone. A page of another site could still reach it
through the browser of whoever sits here: by a name of its own that resolves to 127.0.0.1 (DNS
rebinding), or by sending it a form. Both are told by their headers and refused.
"""

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from app.ports import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # what supervises a server knows no names
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Middleware that lets pass only what was sent to this server by name."""

    def __init__(self, app: "ASGIApp", *, host: str) -> None:
        """Guard `app`.

        :param host: the address that is served at; on any but loopback, all names are ours.
        """
        self._app = app
        self._names = LOOPBACK_HOSTS | {host} if is_loopback(host) else None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or refuse it; the policy goes with every reply."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_policy(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *HEADERS]}
            await send(message)

        answering = self._refuse(scope) or self._app
        await answering(scope, receive, send_with_policy)

    def _refuse(self, scope: "Scope") -> "JSONResponse | None":
        if self._names is None or scope["path"] in OPEN_PATHS:
            return None
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if _name_in(f"//{host}") not in self._names:
            return error_response(
                421, f"this server is localhost, not {host[:100]}: ask it by that name"
            )
        origin = headers.get(b"origin")
        if origin and scope["method"] != "GET" and _name_in(origin) not in self._names:
            return error_response(403, f"pages of {origin[:100]} may not use this server")
        return None


def error_response(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> JSONResponse:
    """Say what is wrong as OpenAI's API does, so that its clients show it.

    :param param: the field that is wrong.
    """
    kind = "invalid_request_error" if status < 500 else "api_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status)


def _name_in(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
