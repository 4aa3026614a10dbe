"""Every token of a text is scored once, and as the model alone would score it."""

import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_model import make_tiny_model
from training.bits_per_byte import (
    TextScore,
    UnigramModel,
    Window,
    cut_windows,
    prefix_token,
    score_texts,
)

TEXT = "def take(self, amount: float = 1.0) -> bool:\n    return self.tokens >= amount  # 3 € ö\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A model of random weights, and its tokenizer of bytes."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_tiny_model(tmp_path_factory.mktemp("tiny"))
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(
        folder
    )


def test_windows_overlap_by_half() -> None:
    assert cut_windows(5, 8) == [Window(0, 1, 5)]
    assert cut_windows(8, 8) == [Window(0, 1, 8)]
    assert cut_windows(9, 8) == [Window(0, 1, 8), Window(4, 8, 9)]
    assert cut_windows(13, 8) == [Window(0, 1, 8), Window(4, 8, 12), Window(8, 12, 13)]
    assert cut_windows(1, 8) == []


@given(st.integers(0, 300), st.integers(2, 40))
def test_windows_score_every_position_but_the_first_once(length: int, size: int) -> None:
    windows = cut_windows(length, size)
    scored = [at for window in windows for at in range(window.scored, window.end)]
    assert scored == list(range(1, length))
    for window in windows:
        assert 0 <= window.start < window.scored and window.end - window.start <= size
        if window.start:  # then there is half a window to look back at
            assert window.scored - window.start >= size // 2


def test_a_window_of_one_position_is_refused() -> None:
    with pytest.raises(ValueError, match="two positions"):
        cut_windows(3, 1)


def test_the_score_is_what_the_probabilities_say(tiny: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = tiny
    [score] = score_texts(model, tokenizer, [TEXT], window_tokens=2048)
    ids = [prefix_token(tokenizer), *tokenizer.encode(TEXT, add_special_tokens=False)]
    with torch.inference_mode():
        shares = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = -sum(float(shares[at, ids[at + 1]]) for at in range(len(ids) - 1))
    assert score.nats == pytest.approx(expected, rel=1e-5)
    assert score.tokens == score.size_bytes == len(TEXT.encode())  # its tokens are bytes


def test_a_long_text_is_scored_in_windows_that_see_half_a_window(tiny: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = tiny
    [score] = score_texts(model, tokenizer, [TEXT], window_tokens=16)
    ids = [prefix_token(tokenizer), *tokenizer.encode(TEXT, add_special_tokens=False)]
    expected = 0.0
    for window in cut_windows(len(ids), 16):
        with torch.inference_mode():
            logits = model(torch.tensor([ids[window.start : window.end]])).logits[0]
        shares = logits.log_softmax(-1)
        for at in range(window.scored, window.end):
            expected -= float(shares[at - 1 - window.start, ids[at]])
    assert score.nats == pytest.approx(expected, rel=1e-5)


def test_texts_do_not_see_each_other(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    together = list(score_texts(model, tokenizer, [TEXT, "x = 1\n"], window_tokens=64))
    alone = [next(score_texts(model, tokenizer, [text], window_tokens=64)) for text in ("x = 1\n",)]
    assert together[1] == alone[0]


def test_without_a_token_before_it_the_first_counts_as_drawn_evenly(
    tiny: tuple[Any, Any],
) -> None:
    model, tokenizer = tiny[0], copy.deepcopy(tiny[1])
    tokenizer.eos_token = None
    assert prefix_token(tokenizer) is None
    [score] = score_texts(model, tokenizer, ["x"], window_tokens=64)
    assert score.nats == pytest.approx(math.log(len(tokenizer)))
    assert (score.tokens, score.size_bytes) == (1, 1)


def test_a_random_model_needs_about_as_many_bits_as_there_are_tokens(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    [score] = score_texts(model, tokenizer, [TEXT * 20], window_tokens=256)
    bits = score.nats / math.log(2) / score.size_bytes
    assert bits == pytest.approx(math.log2(len(tokenizer)), abs=0.1)


def test_unigrams_know_how_frequent_tokens_are() -> None:
    unigrams = UnigramModel(
        lambda text: ["ab".index(letter) for letter in text], 2, ["aab", "", "a"]
    )
    # 3 a and 1 b; with one more of each, the shares are 4/6 and 2/6.
    score = unigrams.score("ab")
    assert score.nats == pytest.approx(-math.log(4 / 6 * 2 / 6))
    assert (score.tokens, score.size_bytes) == (2, 2)
    assert unigrams.score("") == TextScore(0, 0, 0)
