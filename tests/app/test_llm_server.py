"""A model behind a server, over real HTTP: what it is asked, what a user reads of its faults."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import pytest
from langchain_core.messages import HumanMessage

from app.llm import Call, chat_model_name, stream_text
from app.llm_server import one_line
from tests.llm_helpers import MESSAGES, error_of, open_chat, record_connections
from tests.stub_openai import Fault, StubOpenAI

KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def stub() -> Iterator[StubOpenAI]:
    with StubOpenAI() as server:
        yield server


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


def test_a_request_holds_what_every_server_knows_and_asks_for_a_count(stub: StubOpenAI) -> None:
    list(stream_text(open_chat(stub.url, temperature=0.5, max_tokens=77), MESSAGES))
    assert stub.chats[0].body == {
        "model": "stub-model",
        "messages": [
            {"role": "system", "content": "Cite."},
            {"role": "user", "content": "Where is auth?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
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


def test_what_a_server_counts_is_told(stub: StubOpenAI) -> None:
    call = Call()
    pieces = [*stream_text(open_chat(stub.url), MESSAGES, call)]
    assert call == Call(None, prompt_tokens=4, completion_tokens=len(pieces))


def test_a_server_that_refuses_to_count_is_asked_once_and_answers(stub: StubOpenAI) -> None:
    stub.fault = "no_counting"
    chat, call = open_chat(stub.url), Call()
    for _ in range(2):
        assert "".join(stream_text(chat, MESSAGES, call)) == stub.reply
    assert call == Call()
    assert ["stream_options" in request.body for request in stub.chats] == [True, False, False]


def test_an_answer_that_the_server_ends_at_its_limit_says_so(stub: StubOpenAI) -> None:
    stub.finish_reason, call = "length", Call()
    assert "".join(stream_text(open_chat(stub.url), MESSAGES, call)) == stub.reply
    assert call.cut == "it may have 1,024 tokens"


def test_a_server_that_ignores_the_limit_is_cut_off_and_what_arrived_is_kept(
    stub: StubOpenAI,
) -> None:
    stub.reply = " ".join(f"word{number}" for number in range(10_000))
    chat, call = open_chat(stub.url, max_tokens=10), Call()
    assert "".join(stream_text(chat, MESSAGES, call)) == stub.reply[:160]
    assert call.cut == "it had grown to 160 characters"
    assert stub.chats[0].done.wait(5)
    assert stub.chats[0].closed_early


def test_a_model_that_repeats_itself_is_cut_off(stub: StubOpenAI) -> None:
    stub.reply = "It stops training.\n" + "- The timer fires when time is up.\n" * 200
    call = Call()
    text = "".join(stream_text(open_chat(stub.url), MESSAGES, call))
    assert len(text) < 1_500
    assert call.cut == "it said the same over and over"


def test_closing_the_stream_closes_the_connection(stub: StubOpenAI) -> None:
    stub.reply, stub.delay_s = "word " * 1000, 0.01
    pieces = stream_text(open_chat(stub.url), MESSAGES)
    next(pieces)
    pieces.close()
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


def test_a_thought_without_end_is_an_empty_answer(stub: StubOpenAI) -> None:
    stub.reply = "<think>I wonder, and wonder, and"
    message = error_of(lambda: list(stream_text(open_chat(stub.url), MESSAGES)))
    assert "allow a longer answer" in message


def test_the_stub_answers_without_streaming_too(stub: StubOpenAI) -> None:
    body = {"model": "stub-model", "messages": [{"role": "user", "content": "hi"}]}
    request = Request(f"{stub.url}/v1/chat/completions", json.dumps(body).encode())
    with urlopen(request) as response:
        assert json.load(response)["choices"][0]["message"]["content"] == stub.reply


def test_nobody_but_the_server_is_contacted(stub: StubOpenAI) -> None:
    with record_connections() as contacted:
        list(stream_text(open_chat(stub.url), MESSAGES))
    assert {host for host, *_ in contacted} == {"127.0.0.1"}
