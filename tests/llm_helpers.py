"""What the tests of language models share."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from app.llm import open_chat_model
from data_tools.errors import LanguageModelError

MESSAGES: list[BaseMessage] = [SystemMessage("Cite."), HumanMessage("Where is auth?")]


def open_chat(spec: str, **options: Any) -> BaseChatModel:  # noqa: ANN401
    """The chat model of a spec that is not `none`."""
    chat = open_chat_model(spec, **options)
    assert chat is not None
    return chat


def error_of(action: Callable[[], object]) -> str:
    """The message of the LanguageModelError that `action` raises: one printable line."""
    with pytest.raises(LanguageModelError) as caught:
        action()
    message = str(caught.value)
    assert message.isprintable()
    return message


@contextmanager
def record_connections() -> Iterator[list[tuple[Any, ...]]]:
    """The addresses that this process connects to, or looks up, in the `with` block."""
    contacted: list[tuple[Any, ...]] = []
    listening = True

    def note(event: str, args: tuple[Any, ...]) -> None:
        if listening and event == "socket.connect":
            contacted.append(args[1])
        elif listening and event == "socket.getaddrinfo":
            contacted.append(args)

    sys.addaudithook(note)  # stays until the process ends, but idle
    try:
        yield contacted
    finally:
        listening = False
