"""The web chat: Gradio's widgets and what they call. What they show is made in `app.render`.

The index and the model are shared; all else is kept by session, so that many people can ask at
once. Nothing is loaded from another host: the page's own policy forbids it.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app import render
from app.answer import answer
from app.conversation import Conversation, Exchange, follow, list_turns
from app.examples import draw_examples
from app.highlight import highlight_passage
from app.workspace import Workspace
from data_tools.chunk import Chunk
from data_tools.errors import PortInUseError
from retrieval.index import CodeIndex

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

REDRAW_S = 0.05  # a faster stream is shown in steps of this
POLL_S = 1.0  # how often a page asks how far the index is, while it is being made
ANSWERS_AT_ONCE = 8
STYLE = Path(__file__).with_name("web.css")
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
HEAD = (
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    '<meta name="referrer" content="no-referrer">'
)
LEAVE_ANCHOR = "(...inputs) => { if (location.hash) location.hash = ''; return inputs; }"

READY = gr.update(submit_btn="Ask", stop_btn=False)  # the question may be sent
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


def build_page(workspace: Workspace, chat: "BaseChatModel | None") -> gr.Blocks:
    """Lay out the page; it answers from what the workspace holds at the time of a question."""
    return _Page(workspace, chat).blocks


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
    :raises PortInUseError: the port is taken, or the host is not this machine's.
    """
    _check_port(host, port)
    page = build_page(workspace, chat)
    page.launch(
        server_name=host,
        server_port=port,
        inbrowser=open_browser,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        **page_options(),
    )
    if block:
        page.block_thread()
    return page


def _check_port(host: str, port: int) -> None:
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


class _Page:
    """The widgets, and what happens when they are used."""

    def __init__(self, workspace: Workspace, chat: "BaseChatModel | None") -> None:
        self._workspace = workspace
        self._chat = chat
        with gr.Blocks(
            title="codeqa", analytics_enabled=False, fill_height=True, fill_width=True
        ) as self.blocks:
            self._lay_out()
            self._connect()

    def _lay_out(self) -> None:
        self.conversation = gr.State(())  # of Exchange
        self.shown = gr.State(None)  # which index the header, filters and examples are of
        self.timer = gr.Timer(POLL_S, active=False)
        self.header = gr.HTML(elem_id="header")
        self.banner = gr.HTML(elem_id="banner")
        with gr.Row(elem_id="columns"):
            with gr.Column(elem_id="talk", scale=1, min_width=320):
                self.messages = gr.Chatbot(
                    elem_id="messages",
                    label="Conversation",
                    show_label=False,
                    container=False,
                    height=None,
                    buttons=[],
                    latex_delimiters=[],
                    sanitize_html=True,
                    allow_tags=False,
                    line_breaks=False,
                    group_consecutive_messages=False,
                    feedback_options=None,
                )
                self.question = gr.Textbox(
                    elem_id="question",
                    label="Your question",
                    show_label=False,
                    container=False,
                    placeholder="Ask about the code. Enter sends, Shift+Enter starts a new line.",
                    lines=1,
                    max_lines=8,
                    autofocus=True,
                    submit_btn="Ask",
                    interactive=self._workspace.index() is not None,
                )
                with gr.Accordion("Filters", open=False, elem_id="filters"):
                    self.repos = gr.Dropdown([], label="Repositories", multiselect=True)
                    self.languages = gr.Dropdown([], label="Languages", multiselect=True)
                    self.path_glob = gr.Textbox(
                        value="", label="Paths", placeholder="src/**/*.py, as in .gitignore", lines=1
                    )
                self.anew = gr.Button("New conversation", elem_id="anew", size="sm")
            with gr.Column(elem_id="side", scale=1, min_width=320):
                self.evidence = gr.HTML(elem_id="evidence", apply_default_css=False)

    def _connect(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        filters = [self.repos, self.languages, self.path_glob]
        conversed = [self.conversation, self.messages, self.evidence]
        refreshed = [
            self.shown, self.timer, self.header, self.banner, self.messages,
            self.question, self.repos, self.languages, 
        ]
        for happens in (self.blocks.load, self.timer.tick):
            happens(self.refresh, self.shown, refreshed, queue=False, **quiet)
        asking: dict[str, Any] = {
            "fn": self.ask,
            "inputs": [self.question, self.conversation, *filters],
            "outputs": [self.question, *conversed],
            "concurrency_limit": ANSWERS_AT_ONCE,
            **quiet,
        }
        asked = self.question.submit(js=LEAVE_ANCHOR, **asking)
        picked = self.messages.example_select(pick_example, None, self.question, queue=False, **quiet)
        asked_example = picked.then(**asking)
        running = [asked, asked_example]
        stopped = {"inputs": self.conversation, "outputs": [self.question, *conversed]}
        self.question.stop(self.stop, **stopped, cancels=running, queue=False, **quiet)
        self.anew.click(
            self.begin_anew, None, [self.question, *conversed], cancels=running, queue=False, **quiet
        )

    def refresh(self, shown: object) -> Updates:
        """Show how far the index is, and what it holds if that has changed."""
        status, index = self._workspace.status, self._workspace.index()
        manifest = index.manifest if index else None
        key = (status.building, manifest.created_at if manifest else None)
        updates: Updates = {self.banner: render.banner_html(status)}
        if key == shown:
            return updates
        names = [record.name for record in manifest.repositories] if manifest else []
        languages = index.languages() if index else []
        examples = _draw_examples(index, index.manifest.created_at) if index else []
        return updates | {
            self.shown: key,
            self.timer: gr.Timer(active=status.building),
            self.header: render.header_html(manifest, self._model_name()),
            self.messages: gr.Chatbot(
                placeholder=render.welcome_html(names),
                examples=[{"text": question} for question in examples],
            ),
            self.question: gr.Textbox(interactive=index is not None),
            self.repos: gr.Dropdown(names, visible=len(names) > 1),
            self.languages: gr.Dropdown([(f"{name} ({n:,})", name) for name, n in languages]),
        }

    def ask(
        self,
        question: str,
        before: Conversation,
        repos: Sequence[str],
        languages: Sequence[str],
        path_glob: str,
    ) -> Iterator[Updates]:
        """Answer a question, showing what there is of the answer as it comes."""
        index = self._workspace.index()
        if not question.strip() or index is None:
            yield {self.question: gr.skip()}
            return
        exchange = Exchange(question.strip())
        yield self._show((*before, exchange)) | {
            self.question: gr.Textbox("", submit_btn=False, stop_btn="Stop")
        }
        events = answer(
            index,
            question,
            chat=self._chat,
            history=list_turns(before),
            repos=repos or None,
            languages=languages or None,
            path_glob=path_glob.strip() or None,
        )
        with closing(follow(exchange, events, step_s=REDRAW_S)) as steps:
            for exchange in steps:
                yield self._show((*before, exchange))
        yield {self.question: READY}

    def stop(self, exchanges: Conversation) -> Updates:
        """Leave the answer as far as it was written."""
        if exchanges and exchanges[-1].running:
            exchanges = (*exchanges[:-1], replace(exchanges[-1], stopped=True))
        return self._show(exchanges) | {self.question: READY}

    def begin_anew(self) -> Updates:
        """Empty the conversation."""
        return self._show(()) | {self.question: READY}

    def _show(self, exchanges: Conversation) -> Updates:
        messages = [
            {"role": role, "content": content}
            for number, exchange in enumerate(exchanges, start=1)
            for role, content in (
                ("user", render.question_html(exchange)),
                ("assistant", _answer_html(exchange, number)),
            )
        ]
        return {
            self.conversation: exchanges,
            self.messages: messages,
            self.evidence: render.evidence_html(exchanges, self._highlight),
        }

    def _highlight(self, chunk: Chunk) -> Sequence[str]:
        index = self._workspace.index()
        try:
            text = index.file_text(chunk.repo, chunk.path) if index else ""
        except KeyError:  # the index has moved on
            text = ""
        return highlight_passage(chunk, text)

    def _model_name(self) -> str | None:
        if self._chat is None:
            return None
        from app.llm import chat_model_name

        return chat_model_name(self._chat)


def pick_example(event: gr.SelectData) -> str:
    """Return the text of the example that was clicked."""
    return str(event.value["text"])


_answer_html = lru_cache(maxsize=256)(render.answer_html)


@lru_cache(maxsize=4)
def _draw_examples(index: CodeIndex, created_at: float) -> list[str]:
    return draw_examples(index)
