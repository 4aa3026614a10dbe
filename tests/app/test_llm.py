"""The language model behind `--llm`: servers, folders, and what a user reads when they fail."""

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from app.llm import chat_model_name, open_chat_model, stream_text, without_thinking
from app.llm_local import LocalChatModel
from app.llm_server import one_line
from data_tools.errors import LanguageModelError
from tests.stub_openai import Fault, StubOpenAI
from tests.tiny_model import CHAT_TEMPLATE, make_tiny_adapter, make_tiny_model

MESSAGES: list[BaseMessage] = [SystemMessage("Cite."), HumanMessage("Where is auth?")]
KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def stub() -> Iterator[StubOpenAI]:
    with StubOpenAI() as server:
        yield server


def open_chat(spec: str, **options: Any) -> BaseChatModel:  # noqa: ANN401
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


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


# ---------------------------------------------------------------------------- no model


def test_none_is_no_model() -> None:
    assert open_chat_model("none") is None


def test_importing_the_module_imports_nothing_heavy() -> None:
    code = (
        "import sys, app.llm, app.llm_server, app.llm_folder\n"
        "print({'torch', 'transformers', 'openai', 'langchain_core', 'pydantic'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---------------------------------------------------------------------------- servers


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_a_base_url_may_be_written_in_several_ways(stub: StubOpenAI, path: str) -> None:
    chat = open_chat(stub.url + path)
    assert "".join(stream_text(chat, MESSAGES)) == stub.reply
    assert [request.path for request in stub.requests] == ["/v1/models", "/v1/chat/completions"]


def test_text_is_passed_on_while_the_server_is_still_sending(stub: StubOpenAI) -> None:
    stub.delay_s = 0.05
    pieces = stream_text(open_chat(stub.url), MESSAGES)
    first = next(pieces)
    assert stub.chats[0].deltas_sent < len(stub.deltas([])) - 1
    assert [first, *pieces] == stub.deltas([])


def test_a_request_holds_what_every_server_knows_and_nothing_else(stub: StubOpenAI) -> None:
    list(stream_text(open_chat(stub.url, temperature=0.5, max_tokens=77), MESSAGES))
    assert stub.chats[0].body == {
        "model": "stub-model",
        "messages": [
            {"role": "system", "content": "Cite."},
            {"role": "user", "content": "Where is auth?"},
        ],
        "stream": True,
        "temperature": 0.5,
        "max_completion_tokens": 77,
    }
    assert stub.chats[0].headers["connection"] == "close"


def test_langchain_can_await_the_model_too(stub: StubOpenAI) -> None:
    chat = open_chat(stub.url)
    assert asyncio.run(chat.ainvoke(MESSAGES)).text == stub.reply


def test_the_only_model_needs_no_name(stub: StubOpenAI) -> None:
    assert chat_model_name(open_chat(stub.url)) == "stub-model"


def test_one_of_several_models_is_chosen_by_name(stub: StubOpenAI) -> None:
    stub.models = ("small", "large")
    chat = open_chat(stub.url, model="large")
    list(stream_text(chat, MESSAGES))
    assert stub.chats[0].body["model"] == chat_model_name(chat) == "large"


@pytest.mark.parametrize("model", [None, "huge"])
def test_an_unclear_or_unknown_name_lists_the_names_there_are(
    stub: StubOpenAI, model: str | None
) -> None:
    stub.models = ("small", "large")
    message = error_of(lambda: open_chat(stub.url, model=model))
    assert message.endswith("--model: small, large")


def test_a_server_without_a_model_says_so(stub: StubOpenAI) -> None:
    stub.models = ()
    assert "serves no model" in error_of(lambda: open_chat(stub.url))


def test_a_server_that_lists_no_models_takes_the_name_on_trust(stub: StubOpenAI) -> None:
    stub.models_fault = 404
    assert "pass --model" in error_of(lambda: open_chat(stub.url))
    chat = open_chat(stub.url, model="stub-model")
    assert "".join(stream_text(chat, MESSAGES)) == stub.reply


def test_the_key_comes_from_the_environment(
    stub: StubOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.api_key = KEY
    assert "set OPENAI_API_KEY" in error_of(lambda: open_chat(stub.url))
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")
    assert "".join(stream_text(open_chat(stub.url), MESSAGES)) == stub.reply
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "…")
    assert "set it again" in error_of(lambda: open_chat(stub.url))


def test_a_proxy_is_not_asked_for_a_server_on_this_machine(
    stub: StubOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert "".join(stream_text(open_chat(stub.url), MESSAGES)) == stub.reply


def test_several_users_get_each_their_own_answer(stub: StubOpenAI) -> None:
    stub.reply = lambda messages: messages[-1]["content"] * 20
    stub.delay_s = 0.002
    chat = open_chat(stub.url)
    questions = [f"question {number}. " for number in range(8)]
    with ThreadPoolExecutor(8) as users:
        answers = users.map(
            lambda question: "".join(stream_text(chat, [HumanMessage(question)])), questions
        )
        assert [*answers] == [question * 20 for question in questions]


def test_closing_the_stream_closes_the_connection(stub: StubOpenAI) -> None:
    stub.reply, stub.delay_s = "word " * 1000, 0.01
    pieces = stream_text(open_chat(stub.url), MESSAGES)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # the annotation promises an iterator
    assert stub.chats[0].done.wait(5)
    assert stub.chats[0].closed_early


CHAT_FAULTS: dict[Fault, str] = {
    "hang": "sent nothing for too long",
    "stall": "sent nothing for too long",
    "drop": "broke off: ask again",
    "truncate": "broke off: ask again",
    "error_event": "the engine died: look at its log",
    "empty": "gave an empty answer: ask again",
    "html": "does not speak the OpenAI protocol: give the base URL",
    "not_json": "does not speak the OpenAI protocol: give the base URL",
    "unauthorized": "(HTTP 401): set OPENAI_API_KEY",
    403: "(HTTP 403): set OPENAI_API_KEY",
    "unknown_model": "has no model stub-model (HTTP 404): correct --model",
    "context_length": "too long for stub-model: ask for fewer results",
    "rate_limit": "(HTTP 429): wait a minute",
    400: "(HTTP 400: The stub was told to fail): check that it fits",
    500: "(HTTP 500: The stub was told to fail): look at the server's log",
    "bad_gateway": "(HTTP 502): look at the server's log",
}


@pytest.mark.parametrize("fault", CHAT_FAULTS)
def test_a_fault_in_an_answer_is_one_line_that_names_the_fix(
    stub: StubOpenAI, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    url = stub.url.replace("//", "//anne:p%40ssw0rd@")
    chat = open_chat(url, timeout_s=0.3)
    stub.fault = fault
    started = time.monotonic()
    message = error_of(lambda: list(stream_text(chat, MESSAGES)))
    assert time.monotonic() - started < 5
    assert CHAT_FAULTS[fault] in message
    assert len(stub.chats) == 1  # not tried again
    for secret in (KEY, "p@ssw0rd", "p%40ssw0rd", "anne"):
        assert secret not in message


MODELS_FAULTS: dict[Fault, str] = {
    "hang": "sent nothing for too long",
    "html": "does not speak the OpenAI protocol",
    "not_json": "does not speak the OpenAI protocol",
    "unauthorized": "set OPENAI_API_KEY",
    "rate_limit": "wait a minute",
    404: "pass --model NAME, or correct the URL",
    500: "look at the server's log",
}


@pytest.mark.parametrize("fault", MODELS_FAULTS)
def test_a_fault_of_the_server_shows_before_the_first_question(
    stub: StubOpenAI, fault: Fault
) -> None:
    stub.models_fault = fault
    started = time.monotonic()
    message = error_of(lambda: open_chat(stub.url, timeout_s=0.3))
    assert time.monotonic() - started < 5
    assert MODELS_FAULTS[fault] in message


@pytest.mark.parametrize("fault", ["stall", "drop", "truncate", "error_event"])
def test_what_came_before_the_fault_is_not_lost(stub: StubOpenAI, fault: Fault) -> None:
    chat = open_chat(stub.url, timeout_s=0.3)
    stub.fault = fault
    pieces: list[str] = []
    error_of(lambda: pieces.extend(stream_text(chat, MESSAGES)))
    assert pieces == stub.deltas([])[: len(stub.deltas([])) // 2]


def test_a_server_that_is_down_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    message = error_of(lambda: open_chat(f"http://127.0.0.1:{port}"))
    assert f"nothing answers at http://127.0.0.1:{port}/v1" in message
    assert "start the server" in message


def test_a_server_that_goes_down_later_is_named() -> None:
    with StubOpenAI() as server:
        chat = open_chat(server.url)
    assert "start the server" in error_of(lambda: list(stream_text(chat, MESSAGES)))


def test_a_host_that_does_not_take_the_connection_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # they fill the queue; nobody accepts
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        message = error_of(lambda: open_chat(f"http://127.0.0.1:{address[1]}", timeout_s=0.3))
        for each in waiting:
            each.close()
    assert "cannot reach" in message
    assert "check the address" in message


def test_https_to_a_server_without_it_is_named(stub: StubOpenAI) -> None:
    url = stub.url.replace("http:", "https:")
    assert "correct --llm" in error_of(lambda: open_chat(url))


def test_a_password_in_the_url_is_sent_and_never_shown(stub: StubOpenAI) -> None:
    chat = open_chat(stub.url.replace("//", "//anne:p%40ss@"))
    list(stream_text(chat, MESSAGES))
    assert stub.chats[0].headers["authorization"] == "Basic YW5uZTpwQHNz"  # anne:p@ss
    assert "p@ss" not in repr(chat)
    assert "YW5uZTpwQHNz" not in repr(chat)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://anne:hunter2@",
        "http://anne:hunter2@host:port",
        "http://anne:hunter2",
        "http://[::1",
        "http://host/v1?key=hunter2",
    ],
)
def test_a_malformed_url_is_shown_how_to_be_written(url: str) -> None:
    message = error_of(lambda: open_chat(url))
    assert "http://HOST:PORT/v1" in message
    assert "hunter2" not in message


def test_a_servers_words_are_shown_on_one_line_without_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    said = f"no\n\x1b[31m access for {KEY}, Bearer abc.def or http://anne:hunter2@host " + "x" * 999
    shown = one_line(said)
    assert shown.startswith("no [31m access for ***, *** or http:***host xxx")
    assert shown.endswith("…")
    assert len(shown) == 200


# ---------------------------------------------------------------------------- thinking


def test_thinking_is_taken_out_wherever_the_pieces_are_cut() -> None:
    text = "\n<think>\nHm < / think>? </thin\n</think>\n\nIt is <think>here</think>."
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            pieces = [text[:first], text[first:second], text[second:]]
            assert "".join(without_thinking(pieces)) == "It is <think>here</think>."
    assert "".join(without_thinking(text)) == "It is <think>here</think>."


TEXTS = st.text(alphabet="<>/think \nab", max_size=40)


@settings(derandomize=True, deadline=None, database=None)
@given(thought=TEXTS, answer=TEXTS, lengths=st.lists(st.integers(0, 9), max_size=20))
def test_any_thought_is_taken_out_and_any_answer_is_left(
    thought: str, answer: str, lengths: list[int]
) -> None:
    block = f"<think>{thought}</think>"
    assume(block.index("</think>") == len(block) - len("</think>"))
    assert "".join(without_thinking(cut(block + answer, lengths))) == answer.lstrip()
    if not answer.lstrip().startswith("<think>"):
        pieces = [*without_thinking(cut(answer, lengths))]
        assert "".join(pieces) == answer
        assert "" not in pieces


def cut(text: str, lengths: list[int]) -> list[str]:
    pieces = []
    for length in lengths:
        pieces.append(text[:length])
        text = text[length:]
    return [*pieces, text]


def test_an_answer_is_not_held_back_once_it_has_begun() -> None:
    pieces = without_thinking(iter(["<thi", "nk>x</think>", "\n", "\nIt", " is"]))
    assert [*pieces] == ["It", " is"]


def test_a_thought_without_end_is_an_empty_answer(stub: StubOpenAI) -> None:
    stub.reply = "<think>I wonder, and wonder, and"
    message = error_of(lambda: list(stream_text(open_chat(stub.url), MESSAGES)))
    assert "allow a longer answer" in message


def test_any_langchain_model_can_be_streamed() -> None:
    chat = GenericFakeChatModel(messages=iter([AIMessage("<think>no</think> Look here.")]))
    assert "".join(stream_text(chat, MESSAGES)) == "Look here."
    assert chat_model_name(chat) == "GenericFakeChatModel"
    assert "try another --llm" in error_of(lambda: list(stream_text(chat, MESSAGES)))


# ---------------------------------------------------------------------------- folders


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copied_folder(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copied"))


@pytest.fixture
def offline_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of a Hugging Face hub that cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def open_local(folder: Path, max_tokens: int = 40) -> LocalChatModel:
    chat = open_chat(str(folder), max_tokens=max_tokens)
    assert isinstance(chat, LocalChatModel)
    return chat


def generate_greedily(chat: LocalChatModel, messages: list[BaseMessage]) -> str:
    """What transformers alone makes of the same prompt."""
    inputs = chat.tokenizer(
        chat.render(messages), add_special_tokens=False, return_tensors="pt"
    ).to(chat.model.device)
    tokens = chat.model.generate(
        **inputs, max_new_tokens=chat.max_new_tokens, do_sample=False, num_beams=1
    )[0, inputs["input_ids"].shape[1] :]
    return str(chat.tokenizer.decode(tokens, skip_special_tokens=True))


def is_generating() -> bool:
    return any(thread.name == "codeqa-generation" for thread in threading.enumerate())


def test_a_folder_answers_as_transformers_does_piece_by_piece(model_folder: Path) -> None:
    chat = open_local(model_folder)
    pieces = [*stream_text(chat, MESSAGES)]
    assert len(pieces) > 5
    assert "".join(pieces) == generate_greedily(chat, MESSAGES) == chat.invoke(MESSAGES).text
    assert chat_model_name(chat) == "tiny"


def test_a_prompt_is_made_by_the_models_own_template(model_folder: Path) -> None:
    assert open_local(model_folder).render(MESSAGES) == (
        "<|im_start|>system\nCite.<|im_end|>\n"
        "<|im_start|>user\nWhere is auth?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_an_answer_ends_at_the_end_of_the_turn_whatever_the_checkpoint_says(
    copied_folder: Path,
) -> None:
    (copied_folder / "generation_config.json").write_text('{"eos_token_id": 7}')
    config = open_local(copied_folder).model.generation_config
    assert config.eos_token_id == [7, 256]  # 256 is <|im_end|>
    assert config.pad_token_id is not None


def test_an_adapter_folder_answers_with_its_base_model(model_folder: Path, tmp_path: Path) -> None:
    adapter = open_local(make_tiny_adapter(tmp_path / "adapter", model_folder))
    answer = "".join(stream_text(adapter, MESSAGES))
    assert answer == generate_greedily(adapter, MESSAGES)
    assert answer != "".join(stream_text(open_local(model_folder), MESSAGES))
    assert chat_model_name(adapter) == "adapter"


def test_a_temperature_makes_answers_vary(model_folder: Path) -> None:
    chat = open_chat(str(model_folder), temperature=2.0, max_tokens=20)
    assert len({"".join(stream_text(chat, MESSAGES)) for _ in range(3)}) > 1


def test_two_users_get_the_answers_they_would_get_alone(model_folder: Path) -> None:
    chat = open_local(model_folder)
    questions: list[list[BaseMessage]] = [[HumanMessage(text)] for text in "abcd"]
    alone = ["".join(stream_text(chat, question)) for question in questions]
    with ThreadPoolExecutor(4) as users:
        together = users.map(lambda question: "".join(stream_text(chat, question)), questions)
        assert [*together] == alone


def test_closing_the_stream_ends_the_generation_and_lets_the_next_one_in(
    model_folder: Path,
) -> None:
    chat = open_local(model_folder, max_tokens=4000)
    chat.model.generation_config.min_new_tokens = 4000  # would take a minute
    pieces = stream_text(chat, MESSAGES)
    next(pieces)
    assert is_generating()
    pieces.close()  # type: ignore[attr-defined]
    wait_until(lambda: not is_generating())
    assert next(stream_text(chat, MESSAGES))
    wait_until(lambda: not is_generating())  # dropping the stream closes it too


def test_ctrl_c_while_waiting_for_a_turn_gives_the_turn_up(model_folder: Path) -> None:
    chat = open_local(model_folder)
    uses: list[object] = []
    chat.model.register_forward_pre_hook(lambda *_: uses.append(1))
    main_thread = threading.get_ident()
    with chat.turn:
        threading.Timer(0.2, signal.pthread_kill, (main_thread, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            list(stream_text(chat, MESSAGES))
    wait_until(lambda: not is_generating())
    assert uses == []


def test_a_program_that_ends_does_not_wait_for_the_answer(model_folder: Path) -> None:
    code = """if True:
        import atexit, sys
        from app.llm import open_chat_model, stream_text
        chat = open_chat_model(sys.argv[1], max_tokens=4000)
        chat.model.generation_config.min_new_tokens = 4000
        uses = []
        chat.model.register_forward_pre_hook(lambda *_: uses.append(1))
        atexit.register(lambda: print(len(uses)))  # runs when the threads have ended
        pieces = stream_text(chat, "hello")
        next(pieces)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(model_folder)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 4000


def test_too_long_a_question_says_how_long_it_may_be(model_folder: Path) -> None:
    chat = open_local(model_folder)
    message = error_of(lambda: list(stream_text(chat, [HumanMessage("x" * 5000)])))
    assert re.search(r"are 50\d\d tokens, and tiny takes 4096: ask for fewer results", message)


class ScriptedModel:
    """Stands for a loaded model: "generates" given tokens, or raises."""

    device = "cpu"

    def __init__(
        self, token_ids: list[int], *, error: str = "", context_tokens: int | None = None
    ) -> None:
        self.token_ids = token_ids
        self.error = error
        self.config = self
        self.max_position_embeddings = context_tokens
        self.max_new_tokens = 0

    def get_text_config(self) -> "ScriptedModel":
        return self

    def generate(self, *, streamer: Any, max_new_tokens: int, **_: object) -> None:  # noqa: ANN401
        import torch

        self.max_new_tokens = max_new_tokens

        streamer.put(torch.tensor([[1, 2, 3]]))
        for token_id in self.token_ids:
            streamer.put(torch.tensor([token_id]))
        if self.error:
            raise RuntimeError(self.error)
        streamer.end()


def scripted_chat(model: ScriptedModel, tokenizer: Any) -> LocalChatModel:  # noqa: ANN401
    return LocalChatModel(model_name="scripted", model=model, tokenizer=tokenizer, max_new_tokens=9)


@pytest.mark.parametrize(("context_tokens", "room"), [(None, 9), (100, 9), (7, 2)])
def test_an_answer_ends_where_the_context_does(
    copied_folder: Path, context_tokens: int | None, room: int
) -> None:
    (copied_folder / "chat_template.jinja").write_text("12345")
    tokenizer = open_local(copied_folder).tokenizer
    model = ScriptedModel(tokenizer("ab")["input_ids"], context_tokens=context_tokens)
    list(stream_text(scripted_chat(model, tokenizer), MESSAGES))
    assert model.max_new_tokens == room


def test_characters_of_several_tokens_come_whole(model_folder: Path) -> None:
    tokenizer = open_local(model_folder).tokenizer
    text = "naïve 木 → 😀 fin"  # the tiny tokenizer has one token a byte
    chat = scripted_chat(ScriptedModel(tokenizer(text)["input_ids"]), tokenizer)
    assert [*stream_text(chat, MESSAGES)] == [*text]


def test_half_a_character_at_the_end_is_shown_as_such(model_folder: Path) -> None:
    tokenizer = open_local(model_folder).tokenizer
    chat = scripted_chat(ScriptedModel(tokenizer("a😀")["input_ids"][:3]), tokenizer)
    assert "".join(stream_text(chat, MESSAGES)) == "a\ufffd"


def test_sentencepiece_code_keeps_its_indentation() -> None:
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "▁def", "▁f():", "\n", "▁▁▁▁", "return", "▁1"]
    pieces = Tokenizer(
        models.BPE({word: at for at, word in enumerate(words)}, [], unk_token=words[0])
    )
    pieces.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, chat_template=CHAT_TEMPLATE)
    chat = scripted_chat(ScriptedModel([1, 2, 3, 4, 5, 6]), tokenizer)
    assert "".join(stream_text(chat, MESSAGES)) == "def f():\n    return 1"


def test_a_generation_that_fails_reaches_the_reader(model_folder: Path) -> None:
    tokenizer = open_local(model_folder).tokenizer
    model = ScriptedModel(tokenizer("ab")["input_ids"], error="CUDA out of memory")
    pieces: list[str] = []
    chat = scripted_chat(model, tokenizer)
    message = error_of(lambda: pieces.extend(stream_text(chat, MESSAGES)))
    assert message == (
        "scripted failed: CUDA out of memory: ask for fewer results, or try another --llm"
    )
    assert pieces == ["a", "b"]


def test_a_template_that_opens_the_thought_itself_hides_it_too(copied_folder: Path) -> None:
    (copied_folder / "chat_template.jinja").write_text(CHAT_TEMPLATE + "<think>\n")
    tokenizer = open_local(copied_folder).tokenizer
    token_ids = tokenizer("hm\n</think>\n\nIt is here.")["input_ids"]
    chat = scripted_chat(ScriptedModel(token_ids), tokenizer)
    assert "".join(stream_text(chat, MESSAGES)) == "It is here."


def test_a_template_that_refuses_system_messages_says_so(copied_folder: Path) -> None:
    refusal = "{{ raise_exception('System role not supported') }}"
    (copied_folder / "chat_template.jinja").write_text(refusal)
    chat = open_local(copied_folder)
    message = error_of(lambda: list(stream_text(chat, MESSAGES)))
    assert "(System role not supported): choose a model that takes system messages" in message


def test_a_model_without_a_chat_template_says_so(copied_folder: Path) -> None:
    (copied_folder / "chat_template.jinja").unlink()
    message = error_of(lambda: open_local(copied_folder))
    assert "has no chat template: choose a model tuned for chat" in message


def test_pickled_weights_are_not_loaded(copied_folder: Path) -> None:
    (copied_folder / "model.safetensors").rename(copied_folder / "pytorch_model.bin")
    assert "with `save_pretrained`" in error_of(lambda: open_local(copied_folder))


def test_damaged_weights_are_an_error(copied_folder: Path) -> None:
    (copied_folder / "model.safetensors").write_bytes(b"\xff" * 100)
    assert "cannot be loaded" in error_of(lambda: open_local(copied_folder))


def test_code_in_a_folder_is_not_run(copied_folder: Path, tmp_path: Path) -> None:
    config = json.loads((copied_folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C"}}
    (copied_folder / "config.json").write_text(json.dumps(config))
    (copied_folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    error_of(lambda: open_local(copied_folder))
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_no_model_says_so(tmp_path: Path) -> None:
    assert "is not a model folder" in error_of(lambda: open_local(tmp_path))
    (tmp_path / "file").touch()
    assert "is not a model folder" in error_of(lambda: open_local(tmp_path / "file"))


def test_an_adapter_whose_base_is_missing_says_what_to_download(
    model_folder: Path, tmp_path: Path, offline_hub: Path
) -> None:
    folder = make_tiny_adapter(tmp_path / "adapter", model_folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "acme/base"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert "run `hf download acme/base`" in error_of(lambda: open_local(folder))


def test_a_hugging_face_name_is_found_in_the_cache(model_folder: Path, offline_hub: Path) -> None:
    cached = offline_hub / "models--acme--tiny"
    shutil.copytree(model_folder, cached / "snapshots" / "abc123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc123")
    chat = open_chat("acme/tiny", max_tokens=5)
    assert chat_model_name(chat) == "acme/tiny"
    assert "".join(stream_text(chat, MESSAGES))


@pytest.mark.parametrize("spec", ["acme/none", "localhost:8000", "no such folder", ""])
def test_a_name_that_is_out_of_reach_says_so_at_once(offline_hub: Path, spec: str) -> None:
    started = time.monotonic()
    message = error_of(lambda: open_chat(spec))
    assert time.monotonic() - started < 5
    assert f"{spec!r} is no folder here" in message


def test_a_misspelt_url_keeps_its_password_to_itself(offline_hub: Path) -> None:
    assert "hunter2" not in error_of(lambda: open_chat("htp://anne:hunter2@host:8000"))


def test_a_folder_takes_no_model_name(model_folder: Path) -> None:
    assert "leave --model out" in error_of(lambda: open_chat(str(model_folder), model="x"))


# ---------------------------------------------------------------------------- privacy, double


def test_the_stub_answers_without_streaming_too(stub: StubOpenAI) -> None:
    body = {"model": "stub-model", "messages": [{"role": "user", "content": "hi"}]}
    request = Request(f"{stub.url}/v1/chat/completions", json.dumps(body).encode())
    with urlopen(request) as response:
        assert json.load(response)["choices"][0]["message"]["content"] == stub.reply


def test_nobody_but_the_model_is_contacted(stub: StubOpenAI, model_folder: Path) -> None:
    contacted: set[object] = set()
    listening = True

    def note(event: str, args: tuple[Any, ...]) -> None:
        if listening and event in ("socket.connect", "socket.getaddrinfo"):
            contacted.add(args[1] if event == "socket.connect" else args[0])

    sys.addaudithook(note)  # stays until the process ends, but idle
    list(stream_text(open_local(model_folder), MESSAGES))
    assert contacted == set()
    list(stream_text(open_chat(stub.url), MESSAGES))
    listening = False
    assert {str(address[0]) for address in contacted if isinstance(address, tuple)} == {"127.0.0.1"}
