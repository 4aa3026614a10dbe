"""Language models by name: what several `--llm` give, and what is said when one is not there."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage

from app.llm import chat_model_name, stream_text
from app.models import Models, open_models
from tests.llm_helpers import MESSAGES, error_of
from tests.stub_openai import StubOpenAI


@pytest.fixture
def stub() -> Iterator[StubOpenAI]:
    with StubOpenAI(
        reply=lambda messages: "An answer.",
        models=("tuned", "base"),
        parents={"tuned": "base"},
    ) as server:
        yield server


def fake_chat() -> BaseChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage("An answer.")]))


def test_without_a_model_answers_are_quotations() -> None:
    for specs in ([], ["none"]):
        models = open_models(specs)
        assert (models.names, models.default, models.get(None)) == ((), None, None)


def test_all_models_of_a_server_can_be_chosen_base_before_adapters(stub: StubOpenAI) -> None:
    models = open_models([stub.url])
    assert models.names == ("base", "tuned")
    assert models.default == "base"
    tuned = models.get("tuned")
    assert tuned is not None
    assert chat_model_name(tuned) == "tuned"
    assert "".join(stream_text(tuned, MESSAGES)) == "An answer."
    assert stub.chats[-1].body["model"] == "tuned"


def test_a_name_chooses_the_default_and_leaves_the_others(stub: StubOpenAI) -> None:
    models = open_models([stub.url], names=["tuned"])
    assert models.names == ("base", "tuned")
    assert models.default == "tuned"


def test_none_before_a_server_makes_quotations_the_default(stub: StubOpenAI) -> None:
    models = open_models(["none", stub.url])
    assert (models.names, models.default) == (("base", "tuned"), None)


def test_a_server_is_asked_for_its_list_alone_until_a_model_is_wanted(stub: StubOpenAI) -> None:
    open_models([stub.url]).get("base")
    assert [request.path for request in stub.requests] == ["/v1/models"]


def test_two_servers_with_a_model_of_one_name_are_told_apart(stub: StubOpenAI) -> None:
    with StubOpenAI(reply="The other.", models=("base",)) as other:
        models = open_models([stub.url, other.url.replace("//", "//anne:secret@")])
        host = other.url.removeprefix("http://")
        assert models.names == ("base", "tuned", f"base at {host}")
        chat = models.get(f"base at {host}")
        assert chat is not None
        assert "".join(stream_text(chat, MESSAGES)) == "The other."


def test_a_server_that_keeps_no_list_serves_what_it_is_told_to(stub: StubOpenAI) -> None:
    stub.models_fault = 404
    assert open_models([stub.url], names=["base"]).names == ("base",)
    assert "pass --model NAME" in error_of(lambda: open_models([stub.url]))


def test_a_name_that_no_model_has_is_refused_with_those_there_are(stub: StubOpenAI) -> None:
    message = error_of(lambda: open_models([stub.url], names=["tuned", "larger"]))
    assert message == "no --llm serves larger: choose with --model: base, tuned"
    models = open_models([stub.url])
    assert error_of(lambda: models.get("larger")) == (
        "no model is called larger: choose from: base, tuned"
    )
    assert "start with --llm" in error_of(lambda: open_models([]).get("larger"))


def test_all_faults_are_said_in_one_line(stub: StubOpenAI, tmp_path: Path) -> None:
    stub.models_fault = 500
    message = error_of(lambda: open_models([stub.url, "http://", str(tmp_path)]))
    for fault in ("HTTP 500", "is not a base URL", "is not a model folder"):
        assert fault in message


def test_a_model_is_opened_once_however_many_ask_at_once() -> None:
    opened: list[BaseChatModel] = []

    def open_slowly() -> BaseChatModel:
        time.sleep(0.01)
        opened.append(fake_chat())
        return opened[-1]

    models = Models({"one": open_slowly}, default="one")
    with ThreadPoolExecutor(8) as users:
        got = list(users.map(models.get, ["one"] * 32))
    assert len(opened) == 1
    assert {id(chat) for chat in got} == {id(opened[0])}


def test_a_default_that_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no model is called two"):
        Models({"one": fake_chat}, default="two")
