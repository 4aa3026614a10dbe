"""The web chat: Gradio's widgets and what they call. What they show is made in `app.render`.

The index and the model are shared; all else is kept by session, so that many people can ask at
once. Nothing is loaded from another host: the page's own policy forbids it.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.conversation import Exchange

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

REDRAW_S = 0.05  # a faster stream is shown in steps of this
POLL_S = 1.0  # how often a page asks how far the index is, while it is being made
ANSWERS_AT_ONCE = 8
STYLE = Path(__file__).with_name("web.css")
HEAD = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'self\' data: blob: '
    "'unsafe-inline' 'unsafe-eval'; form-action 'self'; base-uri 'self'\">"
    '<meta name="referrer" content="no-referrer">'
)
LEAVE_ANCHOR = "(...inputs) => { if (location.hash) location.hash = ''; return inputs; }"

Conversation = tuple[Exchange, ...]
Updates = dict[Any, Any]


def page_options() -> dict[str, Any]:
    """Return what belongs to the page, but is given to whoever serves it.

    :return: for `Blocks.launch` and `gradio.mount_gradio_app` alike.
    """
    return {
        "theme": gr.themes.Default(
            primary_hue="blue",
            neutral_hue="slate",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        "css": STYLE.read_text("utf-8"),
        "head": HEAD,
        "footer_links": [],
        "run_history": False,
    }
