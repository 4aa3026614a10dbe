"""Field-mapping templates: how the columns of a row become a question and its answer.

A template is two or three texts in which `{column}` stands for that column. Values are put in as
they are and never read as templates themselves; a template can name columns, and nothing else of
Python's format language. It does not know chat markup: that is the tokenizer's chat template.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data_tools.errors import ConfigError, DatasetError
from retrieval.prompt import Message
from training.strict import Strict, validate

SHIPPED = Path(__file__).with_name("templates.yaml")


class Template(Strict):
    """Texts with `{column}` in them.

    :param prompt: what the user says.
    :param completion: what the assistant answers.
    :param system: what the conversation starts with; empty for nothing.
    """

    prompt: str
    completion: str
    system: str = ""


@dataclass(frozen=True)
class Conversation:
    """Messages, and from which one on the assistant's are trained on.

    :param messages: in order.
    :param prompt_messages: how many of the first are never trained on, the assistant's included.
    """

    messages: tuple[Message, ...]
    prompt_messages: int


@cache
def shipped_templates() -> dict[str, Template]:
    """Read the templates that come with this package, by name."""
    content = yaml.safe_load(SHIPPED.read_text("utf-8"))
    return {
        name: validate(Template, keys, f"{SHIPPED.name}, {name}") for name, keys in content.items()
    }


def find_template(chosen: str | Mapping[str, str]) -> Template:
    """Find a shipped template by its name, or read one from its own keys.

    :raises ConfigError: no such name, unknown or missing keys, or braces that name no column.
    """
    if isinstance(chosen, str):
        shipped = shipped_templates()
        if chosen not in shipped:
            raise ConfigError(
                f"there is no template `{chosen}`; give one of {', '.join(shipped)}, or keys "
                "`prompt`, `completion` and `system` under `data.template`"
            )
        return shipped[chosen]
    template = validate(Template, dict(chosen), "data.template")
    if not columns_in(template.system, template.prompt, template.completion):
        raise ConfigError("data.template names no column; write it like `prompt: '{question}'`")
    return template


def columns_in(*texts: str) -> list[str]:
    """List the columns that a template's texts name, each once, in order.

    :raises ConfigError: braces that name no column.
    """
    return list(dict.fromkeys(field for text in texts for _, field in _parse(text) if field))


def fill(template: Template, row: Mapping[str, Any], place: str) -> Conversation | None:
    """Make a conversation of a row.

    :param row: text by column; numbers and `null` may stand for text.
    :param place: what to call the row in an error, such as `train.jsonl:3`.
    :return: None if the question or the answer is empty.
    :raises DatasetError: a column is missing, or holds no text.
    """
    system, prompt, completion = (
        _fill_text(text, row, place)
        for text in (template.system, template.prompt, template.completion)
    )
    if not prompt or not completion:
        return None
    messages = [
        *([Message(role="system", content=system)] if system else []),
        Message(role="user", content=prompt),
        Message(role="assistant", content=completion),
    ]
    return Conversation(tuple(messages), len(messages) - 1)


def _fill_text(text: str, row: Mapping[str, Any], place: str) -> str:
    """Fill in each paragraph; leave out those whose columns are all empty."""
    kept = []
    for paragraph in text.strip().split("\n\n"):
        parts = _parse(paragraph)
        values = {field: _value(row, field, place) for _, field in parts if field}
        if values and not any(values.values()):
            continue
        kept.append("".join(literal + values.get(field, "") for literal, field in parts))
    return "\n\n".join(kept).strip("\n")


def _parse(text: str) -> list[tuple[str, str]]:
    """Split a text into pairs of what stands before a column and the column's name, or ''."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(
            f"the template {text!r} has unequal braces; write {{{{ for one"
        ) from error
    for _, field, format_spec, conversion in parts:
        if field is not None and (not field.isidentifier() or format_spec or conversion):
            raise ConfigError(f"`{{{field}}}` in the template {text!r} is not a column's name")
    return [(literal, field or "") for literal, field, _, _ in parts]


def _value(row: Mapping[str, Any], column: str, place: str) -> str:
    if column not in row:
        raise DatasetError(
            f"{place} has no column `{column}`, which the template names; it has "
            f"{', '.join(row) or 'none'}: set `data.template` to fit"
        )
    value = row[column]
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DatasetError(f"{place}: column `{column}` holds {type(value).__name__}, not text")
    return str(value).strip("\n")
