"""The entrance of a server that asks for a token: who is let in, the form for people, the refusals.

The form works without scripts and looks like the page. Whoever opens `/?token=…`, the address that
the terminal prints, needs no form, and is sent on to the address without the token. Programs send
`Authorization: Bearer …`. Wrong tokens are counted by address, and after a few of them even the
right one has to wait: nobody guesses faster than that.
"""

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.access import SESSION_S, TOKEN_VARIABLE, Access
from app.api_errors import error_response, retry_after
from app.rate_limits import RateLimits, person_at
from app.request_body import read_body
from data_tools.errors import BusyError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATH = "/login"
FIELD = b"token"  # of the form and of an address
QUERY = b"query"  # of the form: what else the address asked for
MAX_FORM_BYTES = 10_000
BEARER = b"bearer "
WRONG = "That is not the token of this server."

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#c3cad5, #4b5563); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  font: 1rem/1.5 system-ui, sans-serif;
  background: light-dark(#f8fafc, #0b0f19); color: light-dark(#1f2937, #f3f4f6); }
main { width: 100%; max-width: 24rem; padding: 1.5rem; border: 1px solid var(--line);
  border-radius: .75rem; background: light-dark(#fff, #1f2937); }
h1 { margin: 0 0 .25rem; font-size: 1.25rem; }
p { margin: 0 0 1rem; overflow-wrap: anywhere; }
label { display: block; font-weight: 600; }
input, button { width: 100%; min-height: 2.75rem; margin-top: .375rem; padding: .5rem .75rem;
  border: 1px solid var(--line); border-radius: .5rem; font: inherit;
  background: light-dark(#fff, #111827); color: inherit; }
button { margin-top: 1rem; border-color: transparent; background: #1d4ed8; color: #fff;
  font-weight: 600; cursor: pointer; }
:focus-visible { outline: 3px solid #60a5fa; outline-offset: 2px; }
[role=alert] { color: light-dark(#b91c1c, #fca5a5); }
"""


class Entrance:
    """Lets in who knows the token, and answers everybody else."""

    def __init__(self, access: Access, rates: RateLimits) -> None:
        self._access = access
        self._rates = rates

    def recognize(self, scope: "Scope", headers: dict[bytes, bytes]) -> str | None:
        """Tell who asks: a browser that was let in, or whoever sends the token.

        :return: a name for them; None for strangers.
        :raises BusyError: they sent too many wrong tokens to be heard.
        """
        cookies = cookie_parser(headers.get(b"cookie", b"").decode("latin-1"))
        if person := self._access.person(cookies.get(self._access.cookie, "")):
            return person
        sent = headers.get(b"authorization", b"")
        if not sent.lower().startswith(BEARER):
            return None
        address = person_at(scope.get("client"))
        return address if self._is_token(sent[len(BEARER) :].strip(), address) else None

    def is_asked(self, scope: "Scope") -> bool:
        """Tell whether a request is about being let in, whoever sends it."""
        path: str = scope["path"]
        return path == PATH or (path == "/" and FIELD + b"=" in scope["query_string"])

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Let somebody in, show the form, or say that a token is needed."""
        try:
            response = await self._answer(scope, receive)
        except BusyError as error:
            response = login_page(str(error), status=429)
            response.headers["Retry-After"] = retry_after(error)
        await response(scope, receive, send)

    async def _answer(self, scope: "Scope", receive: "Receive") -> Response:
        headers = dict(scope["headers"])
        given, query = None, ""
        if scope["path"] == PATH and scope["method"] == "POST":
            form = _read(await read_body(scope, receive, MAX_FORM_BYTES))
            given, (_, query) = form.get(FIELD, b"").strip(), _without_token(form.get(QUERY, b""))
        elif scope["path"] == "/":
            given, query = _without_token(scope["query_string"])
        if given is not None:
            if self._is_token(given, person_at(scope.get("client"))):
                return self._let_in(scope, query)
            return login_page(WRONG, query)
        if scope["path"] not in ("/", PATH) or scope["method"] not in ("GET", "HEAD"):
            response: Response = error_response(
                401,
                f"send the server's {TOKEN_VARIABLE} as `Authorization: Bearer …`",
                code="invalid_api_key",
            )
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if headers.get(b"sec-fetch-site") == b"cross-site":
            return ask_again()
        return login_page(query=query)

    def _is_token(self, given: bytes, address: str) -> bool:
        self._rates.check("logins", address, count=False)
        if self._access.is_token(given):
            return True
        self._rates.check("logins", address)
        return False

    def _let_in(self, scope: "Scope", query: str) -> Response:
        response = RedirectResponse(f"./?{query}" if query else "./", 303)
        response.set_cookie(
            self._access.cookie,
            self._access.let_in(),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=scope["scheme"] == "https",
        )
        return response


def login_page(problem: str = "", query: str = "", *, status: int = 401) -> HTMLResponse:
    """Return the form.

    :param problem: why somebody was not let in, in one line.
    :param query: of the address that was asked for, such as a conversation's.
    """
    alert = f'<p role="alert" id="problem">{escape(problem)}</p>' if problem else ""
    about = "what problem" if problem else "what"
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Log in to codeqa</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>codeqa</h1>"
        f'<p id="what">This server asks for a token. Whoever started it has it: in '
        f"<code>{TOKEN_VARIABLE}</code>, or in the address that it printed.</p>"
        f'<form method="post" action="login">{alert}<label for="token">Token</label>'
        f'<input id="token" name="{FIELD.decode()}" type="password" autocomplete="current-password"'
        f' required autofocus aria-describedby="{about}"'
        f"{' aria-invalid=true' if problem else ''}>"
        f'<input type="hidden" name="{QUERY.decode()}" value="{escape(query)}">'
        '<button type="submit">Log in</button></form></main></body></html>',
        status,
    )


def ask_again() -> HTMLResponse:
    """Return a page that asks for itself again.

    A browser keeps a strict cookie to itself when a link on another site is followed. The second
    request is this page's own, and the cookie comes with it.
    """
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>codeqa</title>'
        '<meta http-equiv="refresh" content="0"></head><body></body></html>'
    )


def _read(form: bytes) -> dict[bytes, bytes]:
    try:
        return dict(parse_qsl(form, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        return {}


def _without_token(query: bytes) -> tuple[bytes | None, str]:
    """Return the token of an address, None if it holds none, and the query without it."""
    fields = _read(query)
    return fields.pop(FIELD, None), urlencode(fields)
