"""The page: Gradio's shell around our own HTML, with the repositories beside it.

Gradio serves the page, its theme and the panel of repositories. The conversation is HTML of our own
in one component: `web.js` fills it from the routes of `app.page_routes`, so that an answer streams
at the cost of its new words, goes on when the tab is closed, and is there after a reload.
"""

import gradio as gr

from app.page_repositories import RepositoriesPanel
from app.page_skeleton import skeleton_html
from app.rate_limits import RateLimits
from app.workspace import Workspace


class Page:
    """The widgets, and what happens when they are used."""

    def __init__(
        self, workspace: Workspace, rates: RateLimits, *, on_loopback: bool = True
    ) -> None:
        """Lay out the page.

        :param rates: how often somebody may change what is indexed.
        :param on_loopback: only people at this machine see it, so they may add its folders.
        """
        self.blocks: gr.Blocks
        with gr.Blocks(
            title="codeqa", analytics_enabled=False, fill_height=True, fill_width=True
        ) as self.blocks:
            gr.HTML(skeleton_html(), elem_id="codeqa", apply_default_css=False, js_on_load=None)
            repositories = RepositoriesPanel(workspace, rates, on_loopback=on_loopback)
            repositories.lay_out()
            repositories.connect()
