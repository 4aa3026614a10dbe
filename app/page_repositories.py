"""The panel in which repositories are added, brought up to date and removed.

A drawer over the page, opened by the button `#open-repositories` of its header. What it shows is
made in `app.repositories_html`; what is done is done by the workspace, one job after another,
whoever looks on.
"""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.freshness import Freshness
from app.rate_limits import RateLimits
from app.repositories_html import jobs_html, repositories_html
from app.workspace import Workspace
from data_tools.errors import CodeQAError

CHANGES = ("update", "update-all", "remove")  # what counts as work
POLL_S = 1.0  # while something is going on
SCRIPT = Path(__file__).with_name("repositories.js")
HEAD = (
    '<h2 id="repositories-title">Repositories</h2>'
    '<button type="button" data-do="close" aria-label="Close the repositories">Close</button>'
)

Updates = dict[Any, Any]


class RepositoriesPanel:
    """The widgets of the panel, and what happens when they are used."""

    def __init__(self, workspace: Workspace, rates: RateLimits, *, on_loopback: bool) -> None:
        """Make a panel; call `lay_out`, then `connect`, where the page's blocks are made.

        :param rates: how often somebody may change what is indexed.
        :param on_loopback: only people at this machine see the page, so they may add its folders.
        """
        self._workspace = workspace
        self._rates = rates
        self._on_loopback = on_loopback
        self._freshness = Freshness()

    def lay_out(self) -> None:
        """Place the widgets."""
        what = (
            "Git URL, documentation site or folder"
            if self._on_loopback
            else ("Git URL or documentation site")
        )
        with gr.Column(elem_id="repositories"):
            gr.HTML(HEAD, elem_id="repositories-head", apply_default_css=False, js_on_load=None)
            self.spec = gr.Textbox(
                elem_id="repositories-add",
                label=f"{what}, with @REF for a branch, tag or commit",
                placeholder="https://github.com/owner/name",
                submit_btn="Add",
                max_lines=1,
            )
            self.problem = gr.HTML(
                "", elem_id="repositories-problem", apply_default_css=False, js_on_load=None
            )
            self.jobs = gr.HTML(
                "", elem_id="repositories-jobs", apply_default_css=False, js_on_load=None
            )
            self.listing = gr.HTML(
                "",
                elem_id="repositories-list",
                apply_default_css=False,
                js_on_load=SCRIPT.read_text("utf-8"),
            )
            self.timer = gr.Timer(POLL_S, active=False)

    def connect(self) -> None:
        """Say what happens when they are used."""
        quiet: dict[str, Any] = {
            "queue": False,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        shown = [self.problem, self.jobs, self.listing, self.timer]
        self.spec.submit(self.add, self.spec, [self.spec, *shown], **quiet)
        self.listing.click(self.act, None, shown, **quiet)
        self.timer.tick(self.refresh, None, [self.jobs, self.listing, self.timer], **quiet)

    def add(self, spec: str, request: gr.Request) -> Updates:
        """Begin to add what was typed."""
        try:
            self._rates.check("repositories", _person(request))
            self._workspace.add(spec, remote_only=not self._on_loopback)
        except CodeQAError as error:
            return self.refresh() | {self.problem: _problem_html(str(error))}
        return self.refresh() | {self.problem: "", self.spec: ""}

    def act(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Do what a button of the list or of the job says."""
        problem = ""
        wanted = event._data if isinstance(event._data, dict) else {}
        name, what = str(wanted.get("name", "")), wanted.get("do")
        try:
            if what in CHANGES:
                self._rates.check("repositories", _person(request))
            match what:
                case "update":
                    self._workspace.update(name)
                case "update-all":
                    self._workspace.update()
                case "remove":
                    self._workspace.remove(name)
                case "cancel":
                    self._workspace.cancel()
        except CodeQAError as error:
            problem = _problem_html(str(error))
        return self.refresh() | {self.problem: problem}

    def refresh(self) -> Updates:
        """Show what there is, and go on doing so while something is going on."""
        index, jobs = self._workspace.index(), self._workspace.jobs
        listing = repositories_html(
            index.manifest.repositories if index else (),
            index.skipped if index else lambda _: (),
            self._freshness.behind,
            index.redacted if index else lambda _: (),
        )
        return {
            self.jobs: jobs_html(self._workspace.status, jobs, self._workspace.report),
            self.listing: listing,
            self.timer: gr.Timer(active=bool(jobs) or self._freshness.asking),
        }


def _person(request: gr.Request) -> str:
    """Who asks, as the guard has told."""
    return str(request.state.person)


def _problem_html(text: str) -> str:
    return f'<p class="failure" role="alert">{escape(text)}</p>'
