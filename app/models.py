"""The language models that can be asked, by name.

One `--llm` is one model, but for a server: it may serve a base model and its adapters, and all of
them can be chosen, or compared. Models that load weights are opened at the start, so that a fault
shows before the first question; a server's are opened when one is first asked for. Nothing is
asked of a model here.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.llm import DEFAULT_MAX_TOKENS, chat_model_name, is_server, open_chat_model
from app.llm_server import find_server, one_line
from data_tools.errors import CodeQAError, LanguageModelError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    Open = Callable[[], BaseChatModel]


class Models:
    """Language models by name; any number of threads may ask for one.

    :ivar names: of all of them, in the order they were given.
    :ivar default: the one to ask where nobody chose; None is no model: answers are quotations.
    """

    def __init__(self, openers: "Mapping[str, Open]", *, default: str | None = None) -> None:
        """Make them known; none is opened yet.

        :param openers: what opens each; called once at most, unless it raises.
        :raises ValueError: `default` is none of them.
        """
        if default is not None and default not in openers:
            raise ValueError(f"no model is called {default}")
        self.names = tuple(openers)
        self.default = default
        self._openers = dict(openers)
        self._opened: dict[str, BaseChatModel] = {}
        self._opening = Lock()

    def get(self, name: str | None) -> "BaseChatModel | None":
        """The model of that name; None for None.

        :raises LanguageModelError: there is no such model; the message names those there are.
        """
        if name is None:
            return None
        if name not in self._openers:
            there = one_line(", ".join(self.names)) or "none; start with --llm"
            raise LanguageModelError(f"no model is called {one_line(name)}: choose from: {there}")
        with self._opening:
            if name not in self._opened:
                self._opened[name] = self._openers[name]()
            return self._opened[name]


def open_models(
    specs: Sequence[str],
    *,
    names: Sequence[str] = (),
    timeout_s: float = 120.0,
    temperature: float = 0.0,
    max_tokens: int = DEFAULT_MAX_TOKENS,
) -> Models:
    """Open the language models of several specs, as `app.llm.open_chat_model` takes them.

    :param specs: `none` adds no model; where it comes first, it is the default.
    :param names: the first is the default; all must be there. Of a server that keeps no list of
        its models, these are served.
    :param timeout_s: the longest wait for a server's next piece of text, in seconds.
    :param temperature: 0 is greedy.
    :param max_tokens: the longest answer, in tokens.
    :raises LanguageModelError: some of them cannot be had; one line says what each of them lacks.
    """
    openers: dict[str, Open] = {}
    faults: list[CodeQAError] = []
    default: str | None = None
    for number, spec in enumerate(specs):
        try:
            found = (
                _find_on_server(spec, names, timeout_s, temperature, max_tokens)
                if is_server(spec)
                else _load(spec, temperature, max_tokens)
            )
        except CodeQAError as error:
            faults.append(error)
            continue
        for name, opener in found.items():
            own = _own_name(name, spec, openers)
            openers[own] = opener
            default = own if number == 0 and default is None else default
    missing = [] if faults else [name for name in names if name not in openers]
    if missing:
        there = one_line(", ".join(openers)) or "none"
        faults.append(
            LanguageModelError(
                f"no --llm serves {one_line(', '.join(missing))}: choose with --model: {there}"
            )
        )
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise LanguageModelError("; ".join(str(fault) for fault in faults))
    return Models(openers, default=names[0] if names else default)


def _find_on_server(
    spec: str, names: Sequence[str], timeout_s: float, temperature: float, max_tokens: int
) -> "dict[str, Open]":
    server = find_server(spec, timeout_s=timeout_s, temperature=temperature, max_tokens=max_tokens)
    return {name: partial(server.open_model, name) for name in server.list_models(names)}


def _load(spec: str, temperature: float, max_tokens: int) -> "dict[str, Open]":
    chat = open_chat_model(spec, temperature=temperature, max_tokens=max_tokens)
    return {} if chat is None else {chat_model_name(chat): lambda: chat}


def _own_name(name: str, spec: str, taken: "Mapping[str, Open]") -> str:
    """A name that no other model has: two servers may serve models of one name."""
    if name not in taken:
        return name
    where = urlsplit(spec).netloc.rpartition("@")[2] if is_server(spec) else spec
    own = f"{name} at {where}"
    number = 2
    while own in taken:
        own = f"{name} at {where} ({number})"
        number += 1
    return own
