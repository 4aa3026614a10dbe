"""What the page begins with: what is indexed, what may be chosen, what may be asked.

Made again when the index or its state has changed, and kept until then.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from app.conversation import Conversation
from app.evidence import evidence_html
from app.examples import draw_examples
from app.highlight import highlight_passage
from app.models import Models
from app.render import banner_html, header_html, welcome_html
from app.render_choices import MODES, Choices, choices_html
from app.strategies import Cost, describe_cost
from app.workspace import Workspace
from data_tools.chunk import Chunk
from retrieval.index import CodeIndex


class PageStart:
    """Describes the page as it is now."""

    def __init__(self, workspace: Workspace, models: Models) -> None:
        self._workspace = workspace
        self._models = models

    def describe(self, key: str = "") -> dict[str, Any]:
        """Return what the page shows beside the conversation.

        :param key: of what the page shows; if that has not changed, only the banner is returned.
        """
        status, index = self._workspace.status, self._workspace.index()
        manifest = index.manifest if index else None
        now = f"{status.building}-{manifest.created_at if manifest else ''}"
        news = {"key": now, "banner": banner_html(status), "building": status.building}
        if key == now:
            return news
        names = [record.name for record in manifest.repositories] if manifest else []
        choices = Choices(
            self._models.names,
            self._models.default,
            names,
            index.languages() if index else [],
        )
        examples = _draw_examples(index, index.manifest.created_at) if index else ()
        return news | {
            "header": header_html(manifest, self._models.default),
            "welcome": welcome_html(status, names, examples),
            "choices": choices_html(choices),
            "ready": index is not None,
            "costs": _describe_costs(),
        }


def evidence_renderer(workspace: Workspace) -> Callable[[Conversation], str]:
    """Make the function that renders a conversation's evidence, highlighted as its files are.

    While the answer is still to come, a passage is highlighted by itself: to read its whole file
    first would keep whoever asked waiting, and is done when there is time.
    """

    def highlight(chunk: Chunk) -> Sequence[str]:
        index = workspace.index()
        try:
            text = index.file_text(chunk.repo, chunk.path) if index else ""
        except KeyError:  # the index has moved on
            text = ""
        return highlight_passage(chunk, text)

    def highlight_alone(chunk: Chunk) -> Sequence[str]:
        return highlight_passage(chunk, "")

    def render(exchanges: Conversation) -> str:
        index = workspace.index()
        several = index is not None and len(index.manifest.repositories) > 1
        in_haste = bool(exchanges) and exchanges[-1].running
        look = highlight_alone if in_haste else highlight
        return evidence_html(exchanges, look, name_repository=several, in_haste=in_haste)

    return render


def _describe_costs() -> dict[str, list[list[str]]]:
    """Say what each mode costs: [without a model, with one][first question, follow-up]."""
    modes: dict[str, Callable[..., Cost]] = {
        strategy: partial(describe_cost, strategy) for strategy in MODES
    }
    modes["compare"] = partial(describe_cost, "direct", drafts=2)
    return {
        name: [
            [_begin_large(cost(has_model=has_model, follow_up=later)) for later in (False, True)]
            for has_model in (False, True)
        ]
        for name, cost in modes.items()
    }


def _begin_large(cost: Cost) -> str:
    return cost.text[:1].upper() + cost.text[1:]


@lru_cache(maxsize=1)  # an index that is remembered here stays in memory
def _draw_examples(index: CodeIndex, created_at: float) -> list[str]:
    return draw_examples(index)
