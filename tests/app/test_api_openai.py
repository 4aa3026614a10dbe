"""The OpenAI-compatible API, asked by the `openai` package over real HTTP."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.app.api_helpers import ServedApi, serve_api
from tests.app.browser_steps import cite
from tests.conftest import TINY_FILES
from tests.stub_openai import StubOpenAI

QUESTION = "How many seconds until there are tokens in the TokenBucket?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
REPLY = "It waits [1:L{0}-L{1}], and not [9:L1-L2]. See `take` [1]."


@pytest.fixture(scope="module")
def api(index_folder: Path, stub: StubOpenAI) -> Iterator[ServedApi]:
    with serve_api(index_folder, stub.url) as served:
        yield served


@pytest.fixture(scope="module")
def quoting_api(index_folder: Path) -> Iterator[ServedApi]:
    with serve_api(index_folder) as served:
        yield served


@pytest.fixture(autouse=True)
def _reply(stub: StubOpenAI) -> None:
    stub.reply, stub.fault, stub.delay_s = cite(REPLY), None, 0.0
    stub.requests.clear()


def ask(api: ServedApi, **options: Any) -> Any:  # noqa: ANN401
    """Ask without streaming; returns the completion, whose fields of ours mypy does not know."""
    asked = {"model": "stub-model", "messages": MESSAGES, **options}
    with api.client() as client:
        return client.chat.completions.create(**asked)


def stream(api: ServedApi, **options: Any) -> list[Any]:
    asked = {"model": "stub-model", "messages": MESSAGES, "stream": True, **options}
    with api.client() as client:
        return list(client.chat.completions.create(**asked))


def text_of(chunks: list[Any]) -> str:
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    return "".join(delta or "" for delta in deltas)


def refusal(api: ServedApi, **options: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(api, **options)
    return caught.value


def test_models_are_listed_with_the_default_first(api: ServedApi, quoting_api: ServedApi) -> None:
    for served, names in (
        (api, ["stub-model", "tuned-model", "quotations"]),
        (quoting_api, ["quotations"]),
    ):
        with served.client() as client:
            assert [model.id for model in client.models.list()] == names


def test_an_answer_has_checked_citations_with_links_and_evidence(api: ServedApi) -> None:
    completion = ask(api)
    message = completion.choices[0].message
    assert completion.model == "stub-model"
    assert completion.choices[0].finish_reason == "stop"
    first = message.evidence[0]
    cited = "[1:L{start_line}-L{end_line}]".format(**first)
    assert message.content.startswith("It waits [1:L")
    assert message.content.endswith(f"], and not. See `take` {cited}.")
    assert {citation["n"] for citation in message.citations} == {1}
    for citation in message.citations:
        assert citation["path"] == first["path"]
        assert citation["url"].startswith("https://github.com/ada/limits/blob/")
        assert citation["url"].endswith("#L{start_line}-L{end_line}".format(**citation))
    assert message.codeqa["dropped"] == ["[9:L1-L2]"]
    assert message.codeqa["mode"] == "model"
    assert first["text"] in TINY_FILES[first["path"]]


def test_a_streamed_answer_is_the_same_answer(api: ServedApi) -> None:
    whole = ask(api).choices[0].message
    chunks = stream(api)
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert text_of(chunks) == whole.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.evidence == whole.evidence
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].choices[0].delta.citations == whole.citations
    assert chunks[-1].choices[0].delta.codeqa["dropped"] == ["[9:L1-L2]"]


def test_the_package_s_own_accumulator_reads_the_stream(api: ServedApi) -> None:
    with (
        api.client() as client,
        client.chat.completions.stream(model="stub-model", messages=MESSAGES) as events,
    ):
        message: Any = events.get_final_completion().choices[0].message
    assert message.content == ask(api).choices[0].message.content
    assert message.citations and message.evidence


def test_without_a_model_the_code_is_quoted_at_no_tokens(quoting_api: ServedApi) -> None:
    completion = ask(quoting_api, model="quotations")
    assert "seconds_until" in completion.choices[0].message.content
    assert completion.choices[0].message.codeqa["mode"] == "extractive"
    assert completion.usage.total_tokens == 0
    *_, last = stream(quoting_api, model="quotations", stream_options={"include_usage": True})
    assert last.choices == [] and last.usage.total_tokens == 0


def test_earlier_messages_are_the_conversation(api: ServedApi, stub: StubOpenAI) -> None:
    stub.reply = lambda messages: "What is a token?" if len(messages) == 2 else "It is one."
    before = [
        {"role": "system", "content": "Answer like a pirate."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "It waits [1:L1-L2]."},
    ]
    message = ask(api, messages=[*before, {"role": "user", "content": "And then?"}])
    facts = message.choices[0].message.codeqa
    assert facts["question"] == "What is a token?"
    assert facts["ignored"] == ["system message"]
    contents = [each["content"] for each in stub.chats[-1].messages]
    assert contents[1:3] == [QUESTION, "It waits."]
    assert not any("pirate" in content for content in contents)


def test_text_may_come_in_parts(quoting_api: ServedApi) -> None:
    parts = [{"type": "text", "text": "Where is"}, {"type": "text", "text": "TokenBucket?"}]
    completion = ask(quoting_api, model="quotations", messages=[{"role": "user", "content": parts}])
    assert completion.choices[0].message.codeqa["question"] == "Where is\nTokenBucket?"


def test_options_of_ours_narrow_the_search(quoting_api: ServedApi) -> None:
    def paths(**options: Any) -> set[str]:  # noqa: ANN401
        completion = ask(quoting_api, model="quotations", extra_body={"codeqa": options})
        return {hit["path"] for hit in completion.choices[0].message.evidence}

    assert paths(languages=["typescript"]) == {"web/client.ts"}
    assert paths(path="*.yaml") == {"config/limits.yaml"}
    assert len(paths(k=1)) == 1
    assert "limits/bucket.py" in paths(repos=["limits"])


def test_a_strategy_can_be_chosen(api: ServedApi, quoting_api: ServedApi) -> None:
    messages = [{"role": "user", "content": "What is a TokenBucket? And what is RetryOptions?"}]
    options = {"strategy": "sub-questions"}
    for served, model in ((api, "stub-model"), (quoting_api, "quotations")):
        asked = {"messages": messages, "model": model, "extra_body": {"codeqa": options}}
        paths = {hit["path"] for hit in ask(served, **asked).choices[0].message.evidence}
        assert {"limits/bucket.py", "web/client.ts"} <= paths
        assert text_of(stream(served, **asked)) == ask(served, **asked).choices[0].message.content
    metrics = httpx.get(f"{quoting_api.url}/metrics").text
    assert 'outcome="answered",strategy="sub-questions"' in metrics


def test_sampling_options_are_ignored_and_named(quoting_api: ServedApi) -> None:
    completion = ask(quoting_api, model="quotations", temperature=0.3, max_tokens=5)
    assert completion.choices[0].message.codeqa["ignored"] == ["max_tokens", "temperature"]


@pytest.mark.parametrize(
    ("options", "status", "param", "said"),
    [
        ({"model": "gpt-9"}, 404, "model", "choose from: stub-model, tuned-model, quotations"),
        ({"n": 2}, 400, "n", "leave n out"),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            *(400, "tools", "cannot be had"),
        ),
        ({"response_format": {"type": "json_object"}}, 400, "response_format", "Markdown"),
        ({"logprobs": True}, 400, "logprobs", "leave it out"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:,"}}],
                    }
                ]
            },
            *(400, "messages", "only text can be read, not image_url"),
        ),
        ({"messages": [{"role": "assistant", "content": "Hm."}]}, 400, "messages", "the user's"),
        ({"messages": []}, 400, "messages", "at least 1"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, None, "question"),
        ({"extra_body": {"codeqa": {"repo": ["x"]}}}, 400, "codeqa.repo", "not permitted"),
        ({"extra_body": {"codeqa": {"k": 0}}}, 400, "codeqa.k", "greater than or equal to 1"),
        ({"extra_body": {"codeqa": {"repos": ["nope"]}}}, 400, None, "nope"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_cannot_be_had_is_refused_with_the_field(
    api: ServedApi,
    options: dict[str, Any],
    status: int,
    param: str | None,
    said: str,
    streamed: bool,
) -> None:
    error = refusal(api, **options, stream=streamed)
    assert error.status_code == status
    assert error.param == param
    assert said in error.message
    assert error.type == "invalid_request_error"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_that_fails_before_its_first_word_has_a_status(
    api: ServedApi, stub: StubOpenAI, streamed: bool
) -> None:
    stub.fault = 500
    error = refusal(api, stream=streamed)
    assert (error.status_code, error.type, error.code) == (502, "api_error", "model_failed")
    assert "HTTP 500" in error.message


def test_a_model_that_dies_midway_ends_the_stream_with_an_error(
    api: ServedApi, stub: StubOpenAI
) -> None:
    stub.reply, stub.fault, stub.delay_s = "It waits and waits. " * 5, "drop", 0.01
    said = ""
    with api.client() as client:
        chunks = client.chat.completions.create(model="stub-model", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="broke off") as caught:
            for chunk in chunks:
                said += chunk.choices[0].delta.content or ""
    assert not isinstance(caught.value, openai.APIStatusError)
    assert said.startswith("It waits")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_goes_stops_the_model(
    api: ServedApi, stub: StubOpenAI, streamed: bool
) -> None:
    stub.reply, stub.delay_s = "It waits and waits. " * 100, 0.02
    with api.client() as client:
        if streamed:
            events = client.chat.completions.create(
                model="stub-model", messages=MESSAGES, stream=True
            )
            with closing(events.response):
                next(iter(events))
        else:
            with pytest.raises(openai.APITimeoutError):
                client.with_options(timeout=0.5).chat.completions.create(
                    model="stub-model", messages=MESSAGES
                )
    assert stub.chats[-1].done.wait(5)
    assert stub.chats[-1].closed_early


def test_a_client_that_goes_stops_a_model_that_says_nothing(
    api: ServedApi, stub: StubOpenAI
) -> None:
    stub.fault = "hang"
    with api.client() as client, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(
            model="stub-model", messages=MESSAGES, stream=True
        )
    assert stub.chats[-1].done.wait(5)
    assert stub.chats[-1].closed_early


def test_many_ask_at_once_and_all_are_answered(api: ServedApi, stub: StubOpenAI) -> None:
    stub.reply, stub.delay_s, texts = "It waits. " * 4, 0.01, []
    threads = [
        threading.Thread(target=lambda: texts.append(text_of(stream(api)))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [("It waits. " * 4).strip()] * 20


def test_other_parts_of_openai_s_api_are_not_there(api: ServedApi) -> None:
    with api.client() as client, pytest.raises(openai.NotFoundError, match="no /v1/embeddings"):
        client.embeddings.create(model="stub-model", input="x")


def test_without_an_index_it_says_to_ask_again(tmp_path: Path) -> None:
    with serve_api(tmp_path / "none") as served:
        error = refusal(served, model="quotations")
        assert (error.status_code, error.code) == (503, "index_not_ready")
        assert error.response.headers["Retry-After"] == "5"


def test_what_is_no_json_is_refused_in_the_same_form(api: ServedApi) -> None:
    reply = httpx.post(
        f"{api.url}/v1/chat/completions",
        content="{",
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
