"""A model behind a server answers and is scored over real HTTP; its faults are explained."""

import math
from collections.abc import Callable

import pytest

from data_tools.errors import LanguageModelError
from retrieval.prompt import Message
from tests.stub_openai import StubOpenAI
from training.served_model import PIECE_CHARS, ServedModel, cut_pieces

PROMPTS = [[Message(role="user", content=f"question {number}")] for number in range(20)]


def by_letter(prompt: str) -> tuple[list[str], list[float | None]]:
    """Tokens of one letter, each as likely as a coin; none before the first."""
    return list(prompt), [None, *([-math.log(2)] * (len(prompt) - 1))]


def after_a_first_token(prompt: str) -> tuple[list[str], list[float | None]]:
    """The same behind a token that the server puts before every text."""
    return ["<s>", *prompt], [None, *([-math.log(2)] * len(prompt))]


def test_every_prompt_is_answered_in_its_place() -> None:
    with StubOpenAI(reply=lambda messages: messages[-1]["content"].upper()) as stub:
        model = ServedModel(stub.url, None, max_tokens=7)
        batches = model.plan(PROMPTS)
        answers = [
            answer for batch in batches for answer in model.answer([PROMPTS[n] for n in batch])
        ]
        model.close()
    assert answers == [f"QUESTION {number}" for number in range(20)]
    body = stub.chats[0].body
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == (
        "stub-model",
        0,
        7,
    )
    assert model.name == f"{stub.url}/v1#stub-model"


def test_what_a_model_thinks_is_no_answer() -> None:
    with StubOpenAI(reply="<think>Hm.\n</think>\n\nIt refills.") as stub:
        assert ServedModel(stub.url, None, max_tokens=7).answer(PROMPTS[:1]) == ["It refills."]


def test_a_prompt_longer_than_the_context_has_no_answer() -> None:
    with StubOpenAI(fault="context_length") as stub:
        assert ServedModel(stub.url, None, max_tokens=7).answer(PROMPTS[:2]) == [None, None]


@pytest.mark.parametrize("tell", [by_letter, after_a_first_token])
def test_texts_are_scored_by_the_server_s_probabilities(
    tell: Callable[[str], tuple[list[str], list[float | None]]],
) -> None:
    with StubOpenAI(log_shares=tell) as stub:
        scores = ServedModel(stub.url, None, max_tokens=7).score(["abcde", "é"])
    assert scores is not None
    counted = 5 if tell is after_a_first_token else 4  # else the first letter is not counted at all
    assert scores[0].nats == pytest.approx(counted * math.log(2))
    assert (scores[0].tokens, scores[0].size_bytes) == (counted, counted)
    assert scores[1].size_bytes == (2 if tell is after_a_first_token else 0)


def test_a_long_text_is_scored_in_pieces() -> None:
    text = "line\n" * 2000
    with StubOpenAI(log_shares=after_a_first_token) as stub:
        scores = ServedModel(stub.url, None, max_tokens=7).score([text])
    assert scores is not None
    assert scores[0].nats == pytest.approx(10_000 * math.log(2))
    assert (scores[0].tokens, scores[0].size_bytes) == (10_000, 10_000)
    sizes = [len(request.body["prompt"]) for request in stub.chats]
    assert sorted(sizes) == [2000, 4000, 4000]


def test_pieces_end_with_lines_and_are_the_text_together() -> None:
    text = "short\n" + "x" * 9000 + "\n" + "line\n" * 900
    pieces = cut_pieces(text)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= PIECE_CHARS
    assert pieces[-2].endswith("\n") and cut_pieces("") == []


def test_a_server_that_tells_no_probabilities_gives_no_scores() -> None:
    with StubOpenAI() as stub:
        model = ServedModel(stub.url, None, max_tokens=7)
        assert model.score(["abc"]) is None
        assert model.score(["abc"]) is None
    assert len(stub.chats) == 1  # it is not asked again


def test_several_models_are_listed_to_choose_from() -> None:
    with (
        StubOpenAI(models=("base", "tuned")) as stub,
        pytest.raises(LanguageModelError, match="with --model: base, tuned"),
    ):
        ServedModel(stub.url, None, max_tokens=7)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("unauthorized", "set OPENAI_API_KEY"),
        ("unknown_model", "correct --model"),
        ("html", "does not speak the OpenAI protocol"),
        (400, "HTTP 400: .*look at its log"),
    ],
)
def test_faults_name_the_fix(fault: str, words: str) -> None:
    with StubOpenAI() as stub:
        model = ServedModel(stub.url, None, max_tokens=7)
        stub.fault = fault  # type: ignore[assignment]
        with pytest.raises(LanguageModelError, match=words):
            model.answer(PROMPTS[:1])


@pytest.mark.parametrize("url", ["localhost:8000", "http://me:secret@host/v1", "http://host:x/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(LanguageModelError, match="http://HOST:PORT/v1") as caught:
        ServedModel(url, None, max_tokens=7)
    assert "secret" not in str(caught.value)
