"""The web chat, served: `app.page` with its style and its policy, at an address.

Nothing is loaded from another host: the page's own policy forbids it.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import gradio as gr

from app.page import Page
from app.workspace import Workspace
from data_tools.errors import PortInUseError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Made = TypeVar("Made")

STYLE = Path(__file__).with_name("web.css")
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
SCRIPT = STYLE.with_name("web.js")
ICON = STYLE.with_name("icon.svg")


def build_page(workspace: Workspace, chat: "BaseChatModel | None") -> gr.Blocks:
    """Lay out the page; it answers from what the workspace holds at the time of a question.

    :return: to be served with `page_options`.
    """
    return in_event_loop(lambda: Page(workspace, chat)).blocks


def page_options() -> dict[str, Any]:
    """Return what belongs to the page, but is given to whoever serves it.

    :return: arguments of `Blocks.launch` and `gradio.mount_gradio_app` alike.
    """
    return {
        "theme": gr.themes.Default(
            primary_hue="blue",
            neutral_hue="slate",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        "head": _head(),
        "js": SCRIPT.read_text("utf-8"),
        "footer_links": [],
        "run_history": False,  # else the browser would keep every question
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
    }


def _head() -> str:
    icon = f"data:image/svg+xml,{quote(ICON.read_text('utf-8'))}"
    return (
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="referrer" content="no-referrer">'
        f'<link rel="icon" href="{icon}">'
        # Not Gradio's `css`: it misreads rules for a screen size that name an outer element.
        f"<style>{STYLE.read_text('utf-8')}</style>"
    )


def launch(
    workspace: Workspace,
    chat: "BaseChatModel | None",
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = False,
    block: bool = True,
) -> gr.Blocks:
    """Serve the page.

    :param block: return only when the server is stopped, by Ctrl-C.
    :return: the page, which its `close` stops.
    :raises PortInUseError: the port is taken, or the host is not this machine's.
    """
    check_port(host, port)
    page = build_page(workspace, chat)
    in_event_loop(
        lambda: page.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            **page_options(),
        )
    )
    if block:
        print(f"Ask at {page.local_url} (Ctrl-C stops it)", file=sys.stderr)
        page.block_thread()
    return page


def in_event_loop(make: Callable[[], Made]) -> Made:
    """Call `make` in an event loop, without which Gradio makes several that it never closes."""

    async def call() -> Made:
        return make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(call())
    return make()


def check_port(host: str, port: int) -> None:
    """Check that the page can be served there.

    :raises PortInUseError: it cannot.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise PortInUseError(
            f"cannot serve at {host}:{port} ({error.strerror}): choose another with --port, "
            "or stop what runs there"
        ) from error
