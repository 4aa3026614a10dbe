"""A LangChain chat model from a spec, or none.

A spec is `none`, the base URL of an OpenAI-compatible server (vLLM or any other), a
Hugging Face model (a folder or a name), or one of MLflow's registry of models
(`models:/codeqa@champion`). Whatever goes wrong, now or in the middle of an answer, is a
`CodeQAError` of one line that names the fix and holds no credentials.

It does not retry: a person waits for the answer, and an error now beats an answer in four
minutes. It switches no tracing on, and nothing but the model is asked.
"""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.llm_limits import CHARS_A_TOKEN, within_limits
from app.reading_pace import read_in_turns
from data_tools.errors import LanguageModelError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

DEFAULT_MAX_TOKENS = 1024
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


def open_chat_model(
    spec: str,
    *,
    model: str | None = None,
    timeout_s: float = 120.0,
    temperature: float = 0.0,
    max_tokens: int = DEFAULT_MAX_TOKENS,
) -> "BaseChatModel | None":
    """Open the language model that `spec` names, and check that it is there.

    :param spec: `none`; a base URL, with or without `/v1`; a Hugging Face folder (a model,
        or a PEFT adapter) or name; `models:/NAME@ALIAS`, which MLflow's registry knows. A
        server's key is read from `OPENAI_API_KEY`.
    :param model: which of a server's models; not needed where it has one.
    :param timeout_s: the longest wait for a server's next piece of text, in seconds.
    :param temperature: 0 is greedy.
    :param max_tokens: the longest answer, in tokens.
    :return: None for the spec `none`.
    :raises LanguageModelError: there is no such model, or it does not answer.
    :raises ModelError: the registry has no such model, or it is not what was registered.
    """
    if spec == "none":
        return None
    if is_server(spec):
        from app.llm_server import choose_model, find_server

        server = find_server(
            spec, timeout_s=timeout_s, temperature=temperature, max_tokens=max_tokens
        )
        return server.open_model(choose_model(server, model))
    if model is not None:
        raise LanguageModelError(
            "--model chooses among a server's models: give its URL as --llm, or leave --model out"
        )
    from app.llm_folder import load_folder

    if spec.startswith("models:/"):
        from training.registry import resolve_model

        spec = resolve_model(spec)
    return load_folder(spec, temperature=temperature, max_tokens=max_tokens)


def is_server(spec: str) -> bool:
    """Whether a spec is the URL of a server, and not a model's name or folder."""
    return spec.lower().startswith(("http://", "https://"))


@dataclass
class Call:
    """What `stream_text` found out of one call of a model besides its text.

    :param cut: why the text was cut short, as the end of a sentence; None if it was not.
    :param prompt_tokens: as the model counted them; None if it did not. Likewise
        `completion_tokens`.
    """

    cut: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def stream_text(
    chat: "BaseChatModel", messages: "list[BaseMessage]", call: Call | None = None
) -> Generator[str]:
    """Yield the answer to `messages` piece by piece, without the model's thinking.

    Closing the iterator stops the model: the connection is closed, or the generation ends. So does
    `app.llm_limits`, where a server does not keep to the length it was asked for.

    :param call: filled in by the time the iterator ends.
    :raises LanguageModelError: no answer, or one that broke off after the pieces yielded.
    """
    call = call or Call()
    answered = False
    try:
        with (
            closing(_stream_content(chat, messages, call)) as content,
            closing(without_thinking(content)) as pieces,
        ):
            for piece in pieces:
                answered = answered or not piece.isspace()
                yield piece
    except LanguageModelError:
        raise
    except Exception as error:  # the boundary: whatever a model raises, a user gets one line
        raise _explain(error, chat) from error
    if not answered:
        raise LanguageModelError(
            f"{chat_model_name(chat)} gave an empty answer: ask again, allow a longer answer if "
            "the model thinks first, or check that it is a chat model"
        )


def chat_model_name(chat: "BaseChatModel") -> str:
    """The model's name, for display."""
    return str(getattr(chat, "model_name", None) or type(chat).__name__)


def without_thinking(pieces: Iterable[str]) -> Generator[str]:
    """Yield the text without a `<think>…</think>` block at its start.

    Tags may be split between pieces. A block that never closes leaves no text.

    :return: no empty pieces; the same text, less the block and the white space around it.
    """
    held, state = "", "undecided"
    for piece in pieces:
        held += piece
        if state == "undecided":
            start = held.lstrip()
            if start.startswith(THINK_OPEN):
                held, state = start[len(THINK_OPEN) :], "thinking"
            elif not THINK_OPEN.startswith(start):
                state = "answering"
        if state == "thinking":
            _, closed, rest = held.partition(THINK_CLOSE)
            held = rest if closed else held[-len(THINK_CLOSE) :]  # may hold half of the tag
            state = "after" if closed else state
        if state == "after":
            held = held.lstrip()
            state = "answering" if held else state
        if state == "answering" and held:
            yield held
            held = ""
    if state == "undecided" and held:
        yield held


def _stream_content(
    chat: "BaseChatModel", messages: "list[BaseMessage]", call: Call
) -> Generator[str]:
    """The model's text as it comes, within limits; what there is to know of it goes to `call`."""
    max_chars = CHARS_A_TOKEN * (_max_tokens(chat) or DEFAULT_MAX_TOKENS)
    try:
        cut = yield from within_limits(_read(chat, messages, call), max_chars=max_chars)
    except Exception as error:
        from app.llm_server import refuses_to_count

        if not refuses_to_count(error, chat):
            raise
        cut = yield from within_limits(_read(chat, messages, call), max_chars=max_chars)
    call.cut = cut or call.cut


def _read(chat: "BaseChatModel", messages: "list[BaseMessage]", call: Call) -> Generator[str]:
    """The model's text as it comes; raises if a server's stream ends before its end."""
    finish = None
    stream = chat.stream(messages)
    try:
        for chunk in read_in_turns(stream) if _base_url(chat) else stream:
            finish = chunk.response_metadata.get("finish_reason") or finish
            if usage := getattr(chunk, "usage_metadata", None):
                call.prompt_tokens = usage["input_tokens"]
                call.completion_tokens = usage["output_tokens"]
            yield str(chunk.text)
    finally:
        if isinstance(stream, Generator):
            stream.close()
    if finish == "length":
        call.cut = f"it may have {_max_tokens(chat) or DEFAULT_MAX_TOKENS:,} tokens"
    if finish is None and _base_url(chat):  # only servers say so
        raise ConnectionError("the stream ended before the answer did")


def _max_tokens(chat: "BaseChatModel") -> int | None:
    """The longest answer that a model is asked for, in tokens."""
    return getattr(chat, "max_tokens", None) or getattr(chat, "max_new_tokens", None)


def _base_url(chat: "BaseChatModel") -> str | None:
    """Where the model is served; None if it runs in this process."""
    return getattr(chat, "openai_api_base", None)


def _explain(error: Exception, chat: "BaseChatModel") -> LanguageModelError:
    from app.llm_server import explain, one_line

    base_url, name = _base_url(chat), chat_model_name(chat)
    if base_url:
        return explain(error, base_url, name)
    return LanguageModelError(
        f"{name} failed: {one_line(str(error))}: ask for fewer results, or try another --llm"
    )
