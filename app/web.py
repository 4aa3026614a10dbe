"""The web chat, served: the page and the API, at one address.

Nothing is loaded from another host: the policy of `app.api_guard` forbids it. Of Gradio's routes
only those are served that the page uses: none that takes an upload, fetches an address or reads any
file by its path. The server runs in a thread, answers in others (`app.desk`); closing stops both.
"""

import asyncio
import sys
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from app.access import TOKEN_VARIABLE, Access
from app.api import make_app
from app.desk import Desk
from app.file_view import file_router
from app.history import History
from app.metrics import Metrics
from app.models import Models
from app.page import Page
from app.page_routes import owner_of_request, page_router
from app.ports import check_port, is_loopback
from app.rate_limits import RateLimits
from app.server import Server
from app.workspace import Workspace

Made = TypeVar("Made")

STYLES = [
    Path(__file__).with_name(name) for name in ("web.css", "file_view.css", "repositories.css")
]
SCRIPTS = [Path(__file__).with_name(name) for name in ("web.js", "file_view.js")]
QUEUE_POLL_S = 0.05  # Gradio looks into its queue a thousand times a second if it is let
GRADIO_ROUTES = frozenset(
    {
        "/",
        "/assets/{path:path}",
        "/static/{path:path}",
        "/theme.css",
        "/config",
        "/gradio_api/run/{api_name}",
    }
)
ICON = Path(__file__).with_name("icon.svg")


def page_options() -> dict[str, Any]:
    """Return what belongs to the page, but is given to whoever serves it.

    :return: arguments of `gradio.mount_gradio_app`.
    """
    return {
        "theme": gr.themes.Default(
            primary_hue="blue",
            neutral_hue="slate",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        "head": _head(),
        "js": _read(SCRIPTS),
        "footer_links": [],
        "run_history": False,  # else the browser would keep every question
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
    }


def _head() -> str:
    icon = f"data:image/svg+xml,{quote(ICON.read_text('utf-8'))}"
    return (
        f'<link rel="icon" href="{icon}">'
        # Not Gradio's `css`: it misreads rules for a screen size that name an outer element.
        f"<style>{_read(STYLES)}</style>"
    )


def _read(files: Sequence[Path]) -> str:
    return "\n".join(file.read_text("utf-8") for file in files)


class WebChat:
    """The page and the API, served until they are closed.

    :ivar url: where they are reached from this machine.
    """

    def __init__(
        self,
        workspace: Workspace,
        models: Models,
        history: History,
        *,
        host: str,
        port: int,
        access: Access | None = None,
        rates: RateLimits | None = None,
    ) -> None:
        """Start to serve.

        :param access: who may ask; None, on loopback alone, for whoever reaches it.
        :param rates: how often; None for the usual limits.
        :raises PortInUseError: the port is taken, or the host is not this machine's.
        """
        check_port(host, port)  # before the desk begins, which takes up old answers
        self._access = access
        rates, metrics = rates or RateLimits(), Metrics()
        self._desk = Desk(workspace, models, history, metrics=metrics)
        try:
            app = make_app(workspace, models, metrics, host=host, access=access, rates=rates)
            mount_page(app, workspace, models, self._desk, rates, host=host)
            self._server = Server(app, host=host, port=port)
        except BaseException:
            self._desk.close()
            raise
        self.url = self._server.url

    @property
    def invitation(self) -> str:
        """Where to go, in words, for whoever sits at the terminal."""
        if self._access is None:
            return f"Ask at {self.url}"
        if self._access.made:
            return f"Ask at {self.url}/?token={self._access.token}"
        return f"Ask at {self.url} with the token of {TOKEN_VARIABLE} or --token-file"

    def wait(self) -> None:
        """Wait until Ctrl-C."""
        self._server.wait()

    def close(self) -> None:
        """Stop the server and the answers on their way; what they came to is kept."""
        self._desk.close()
        self._server.close()


def mount_page(
    app: FastAPI,
    workspace: Workspace,
    models: Models,
    desk: Desk,
    rates: RateLimits,
    *,
    host: str,
) -> None:
    """Add the page to the app, at its root, and the routes that the page's script asks.

    :param rates: how often somebody may change what is indexed.
    :param host: the address that is served at; on loopback, all conversations are one person's.
    """
    on_loopback = is_loopback(host)
    owner_of = owner_of_request(on_loopback=on_loopback)
    app.include_router(page_router(workspace, models, desk, owner_of))
    app.include_router(file_router(workspace))

    def mount() -> None:
        page = Page(workspace, rates, on_loopback=on_loopback)
        queue = page.blocks._queue
        queue.sleep_when_free = queue.progress_update_sleep_when_free = QUEUE_POLL_S
        gr.mount_gradio_app(app, page.blocks, "/", server_name=host, **page_options())
        (mounted,) = (route for route in app.routes if isinstance(route, Mount))
        mounted.routes[:] = [
            route for route in mounted.routes if getattr(route, "path", "") in GRADIO_ROUTES
        ]

    in_event_loop(mount)


def launch(
    workspace: Workspace,
    models: Models,
    history: History,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    access: Access | None = None,
    rates: RateLimits | None = None,
    open_browser: bool = False,
    block: bool = True,
) -> WebChat:
    """Serve the page and the API.

    :param access: who may ask; None, on loopback alone, for whoever reaches it.
    :param rates: how often; None for the usual limits.
    :param block: return only when the server is stopped, by Ctrl-C.
    :return: what is served, which its `close` stops.
    :raises PortInUseError: the port is taken, or the host is not this machine's.
    """
    chat = WebChat(workspace, models, history, host=host, port=port, access=access, rates=rates)
    if open_browser:
        webbrowser.open(chat.url)  # without a token, which others could see among the processes
    if block:
        print(f"{chat.invitation} (Ctrl-C stops it)", file=sys.stderr)
        try:
            chat.wait()
        finally:
            chat.close()
    return chat


def in_event_loop(make: Callable[[], Made]) -> Made:
    """Call `make` in an event loop, without which Gradio makes several that it never closes."""

    async def call() -> Made:
        return make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(call())
    return make()
