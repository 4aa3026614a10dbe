"""The web chat's widgets and what they call. What they show is made in `app.render`.

The index and the model are shared; all else is kept by session, so that many people can ask at
once.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import gradio as gr

from app import render
from app.answer import answer
from app.conversation import Conversation, Exchange, check, end, follow, list_turns
from app.evidence import evidence_html
from app.examples import draw_examples
from app.highlight import highlight_passage
from app.workspace import Workspace
from data_tools.chunk import Chunk
from retrieval.index import CodeIndex

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

REDRAW_S = 0.05  # a faster stream is shown in steps of this
POLL_S = 1.0  # how often a page asks how far the index is, while it is being made
ANSWERS_AT_ONCE = 8
HINT = "Enter sends, Shift+Enter starts a new line"
READY = gr.update(submit_btn="Ask", stop_btn=False)  # the next question may be sent
FORGET_CITATION = """(...inputs) => {
    if (location.hash) location.hash = '';
    document.getElementById('side').scrollTop = 0;
    return inputs;
}"""

Updates = dict[Any, Any]


class Page:
    """The widgets, and what happens when they are used."""

    def __init__(self, workspace: Workspace, chat: "BaseChatModel | None") -> None:
        self._workspace = workspace
        self._chat = chat
        self.blocks: gr.Blocks
        with gr.Blocks(
            title="codeqa", analytics_enabled=False, fill_height=True, fill_width=True
        ) as self.blocks:
            self._lay_out()
            self._connect()

    def _lay_out(self) -> None:
        self.conversation = gr.State(())
        self.shown = gr.State(None)  # the index that the header, filters and examples are of
        self.timer = gr.Timer(POLL_S, active=False)
        self.header = gr.HTML(elem_id="header", apply_default_css=False)
        self.banner = gr.HTML(elem_id="banner", apply_default_css=False)
        with gr.Row(elem_id="columns"):
            with gr.Column(elem_id="talk", scale=1, min_width=320):
                self.messages = gr.Chatbot(
                    elem_id="messages",
                    label="Conversation",
                    show_label=False,
                    height=None,
                    buttons=[],
                    latex_delimiters=[],
                    sanitize_html=True,
                    allow_tags=False,
                    line_breaks=False,
                    feedback_options=None,
                )
                self.question = gr.Textbox(
                    elem_id="question",
                    label="Your question",
                    show_label=False,
                    placeholder="Ask about the code",
                    max_lines=8,
                    autofocus=True,
                    submit_btn="Ask",
                    interactive=self._workspace.index() is not None,
                )
                with gr.Row(elem_id="tools"):
                    with gr.Accordion("Filters", open=False, elem_id="filters") as self.filters:
                        self.repos = gr.Dropdown([], label="Repositories", multiselect=True)
                        self.languages = gr.Dropdown([], label="Languages", multiselect=True)
                        self.path_glob = gr.Textbox(
                            "", label="Paths", placeholder="as in .gitignore, such as src/**/*.py"
                        )
                    gr.HTML(HINT, elem_id="hint", apply_default_css=False)
                    self.anew = gr.Button(
                        "New conversation", elem_id="anew", size="sm", scale=0, min_width=150
                    )
            with gr.Column(elem_id="side", scale=1, min_width=320):
                self.evidence = gr.HTML(
                    self._write_evidence(()), elem_id="evidence", apply_default_css=False
                )

    def _connect(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        at_once: dict[str, Any] = {"queue": False, **quiet}
        filters: list[Any] = [self.repos, self.languages, self.path_glob]
        talk = [self.question, self.conversation, self.messages, self.evidence]
        index = [self.shown, self.timer, self.header, self.banner, self.messages, self.question]
        for happens in (self.blocks.load, self.timer.tick):
            happens(self.refresh, self.shown, [*index, self.repos, self.languages], **at_once)
        for widget in filters:
            widget.change(name_filters, filters, self.filters, **at_once)
        asking: dict[str, Any] = {
            "fn": self.ask,
            "inputs": [self.question, self.conversation, *filters],
            "outputs": talk,
            "concurrency_limit": ANSWERS_AT_ONCE,
            "concurrency_id": "ask",
            **quiet,
        }
        asked = self.question.submit(js=FORGET_CITATION, **asking)
        picked = self.messages.example_select(pick_example, None, self.question, **at_once)
        running = [asked, picked.then(js=FORGET_CITATION, **asking)]
        # The answer is cancelled first and changed then: its last piece may still be on its way.
        cancelled = self.question.stop(None, cancels=running, **at_once)
        cancelled.then(self.stop, self.conversation, talk, **at_once)
        for happens in (self.anew.click, self.messages.clear):
            happens(None, cancels=running, **at_once).then(self.begin_anew, None, talk, **at_once)

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
                placeholder=render.welcome_html(status, names),
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
    ) -> Generator[Updates]:
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
            path_glob=(path_glob or "").strip() or None,
        )
        evidence: object = None
        with closing(follow(exchange, events, step_s=REDRAW_S)) as steps:
            for exchange in steps:
                updates = self._show((*before, exchange))
                if evidence == (evidence := (exchange.evidence, check(exchange).citations)):
                    del updates[self.evidence]  # as it was: what was unfolded by hand stays so
                yield updates
        yield {self.question: READY}

    def stop(self, exchanges: Conversation) -> Updates:
        """Leave the answer as far as it was written."""
        if exchanges and exchanges[-1].running:
            exchanges = (*exchanges[:-1], end(exchanges[-1], stopped=True))
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
            self.evidence: self._write_evidence(exchanges),
        }

    def _write_evidence(self, exchanges: Conversation) -> str:
        index = self._workspace.index()
        several = index is not None and len(index.manifest.repositories) > 1
        return evidence_html(exchanges, self._highlight, name_repository=several)

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


def name_filters(repos: Sequence[str], languages: Sequence[str], path_glob: str) -> gr.Accordion:
    """Say in the title which filters are set, because they are mostly folded away."""
    chosen = ", ".join([*repos, *languages, *([path_glob.strip()] if path_glob.strip() else [])])
    return gr.Accordion(label=f"Filters: only {chosen}" if chosen else "Filters")


_answer_html = lru_cache(maxsize=256)(render.answer_html)


@lru_cache(maxsize=4)
def _draw_examples(index: CodeIndex, created_at: float) -> list[str]:
    return draw_examples(index)
