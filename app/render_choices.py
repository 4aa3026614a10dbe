"""What one chooses before asking, as HTML: mode, model, comparison, filters.

Native widgets, so that keyboards and screen readers know them. Pure functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from app.events import Strategy

MODES: dict[Strategy, tuple[str, str]] = {
    "direct": ("Direct", "One search, one answer"),
    "sub-questions": ("Sub-questions", "The question is broken up; each part is answered first"),
    "related": ("Related", "An answer, and further questions that the evidence can answer"),
}
QUOTATIONS = "Quotations"  # the name of no model


@dataclass(frozen=True)
class Choices:
    """What there is to choose from.

    :param models: names of language models.
    :param default: one of them, or None for quotations.
    :param repositories: names of repositories.
    :param languages: names of languages, with the number of files of each.
    """

    models: Sequence[str]
    default: str | None
    repositories: Sequence[str]
    languages: Sequence[tuple[str, int]]


def choices_html(choices: Choices) -> str:
    """Render all choices but the question itself."""
    return f"{_modes_html()}{_models_html(choices)}{_filters_html(choices)}"


def _modes_html() -> str:
    radios = "".join(
        f'<label title="{escape(what)}"><input type="radio" name="strategy" value="{strategy}"'
        f"{' checked' if strategy == 'direct' else ''}><span>{name}</span></label>"
        for strategy, (name, what) in MODES.items()
    )
    return f'<fieldset class="modes"><legend class="hidden">Mode</legend>{radios}</fieldset>'


def _models_html(choices: Choices) -> str:
    if not choices.models:
        return ""
    others = [name for name in (*choices.models, None) if name != choices.default]
    return (
        f'<select name="model" aria-label="Model">{_options(choices, choices.default)}</select>'
        '<label class="check"><input type="checkbox" name="compare"> Compare</label>'
        '<span class="comparison" hidden><label><span>with</span> '
        f'<select name="other" aria-label="Compare with">{_options(choices, others[0])}'
        '</select></label><label class="check" title="Names are shown after your vote">'
        '<input type="checkbox" name="blind"> Blind</label></span>'
    )


def _options(choices: Choices, chosen: str | None) -> str:
    return "".join(
        f'<option value="{escape(name or "")}"{" selected" if name == chosen else ""}>'
        f"{escape(name or QUOTATIONS)}</option>"
        for name in (*choices.models, None)
    )


def _filters_html(choices: Choices) -> str:
    repositories = [(name, name) for name in choices.repositories]
    languages = [(f"{name} ({count:,})", name) for name, count in choices.languages]
    several = len(repositories) > 1
    return (
        '<details id="filters"><summary>Filters</summary><div class="filters">'
        f"{_boxes_html('Repositories', 'repos', repositories) if several else ''}"
        f"{_boxes_html('Languages', 'languages', languages)}"
        '<label class="path">Paths<input name="path_glob" autocomplete="off" spellcheck="false" '
        'placeholder="as in .gitignore, such as src/**/*.py"></label></div></details>'
    )


def _boxes_html(title: str, name: str, options: Sequence[tuple[str, str]]) -> str:
    boxes = "".join(
        f'<label class="check"><input type="checkbox" name="{name}" value="{escape(value)}"> '
        f"{escape(text)}</label>"
        for text, value in options
    )
    return f"<fieldset><legend>{title}</legend>{boxes}</fieldset>"
