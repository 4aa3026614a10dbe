"""What a model writes is passed on as it comes, without the secrets in it."""

import random
from collections.abc import Generator

import pytest

from app.redacted_stream import RedactedStream, redact_stream
from benchmarks.planted_secrets import KINDS, plant_secrets
from data_tools.errors import LanguageModelError
from data_tools.secrets import redact

DRAW = random.Random(8)
GITHUB = KINDS["GitHub token"][0](DRAW)


def stream(text: str, size: int) -> list[str]:
    """Pass a text on in pieces of a size; return all that was given back, piece by piece."""
    redacted = RedactedStream()
    given = [redacted.add(text[at : at + size]) for at in range(0, len(text), size)]
    return [*given, redacted.finish()]


@pytest.mark.parametrize("size", [1, 3, 7, 64, 10_000])
def test_a_stream_comes_to_what_the_whole_text_would(size: int) -> None:
    for planted in plant_secrets(9, each=2):
        text = f"The {planted.kind} is:\n{planted.text}\nThat is all."
        if redact(text).kinds:
            assert "".join(stream(text, size)) == redact(text).text, planted.kind


@pytest.mark.parametrize("size", [1, 5, 100])
def test_nothing_of_a_private_key_is_ever_given_back(size: int) -> None:
    key = KINDS["private key"][0](DRAW)
    given = stream(f"Here it is:\n\n{key}\n\nDo not share it.", size)
    assert (
        "".join(given)
        == "Here it is:\n\n[redacted: private key]" + "\n" * 26 + "\n\nDo not share it."
    )


def test_a_private_key_that_never_ends_is_not_given_back_either() -> None:
    lines = KINDS["private key"][0](DRAW).split("\n")[:12]
    text = "".join(stream("It is\n" + "\n".join(lines), 4))
    assert not any(line in text for line in lines)


def test_text_without_secrets_comes_word_by_word_and_whole() -> None:
    text = "A `TokenBucket` gains *tokens* [1:L2-L5].\n\n- one\n- two: https://a.org/b?c=d\n"
    given = stream(text, 4)
    assert "".join(given) == text
    assert given[0] == "A `T"


def test_plain_words_are_not_waited_for_and_what_may_begin_a_key_is() -> None:
    stream = RedactedStream()
    words = "The| Token|Bucket| gains| gh|osts| AKI|RA| password = |abc".split("|")
    given = [stream.add(word) for word in words]
    assert given[:4] == words[:4]
    assert given[4:] == [" ", "ghosts", " ", "AKIRA", " password = ", ""]


def test_text_that_knows_no_spaces_is_not_held() -> None:
    text = "\u4ee4\u724c\u6876\u9650\u5236\u5ba2\u6237\u7aef\u7684\u901f\u5ea6"
    assert stream(text, 1)[:-1] == list(text)


def test_what_was_held_is_passed_on_when_the_model_breaks_off() -> None:
    def pieces() -> Generator[str]:
        yield f"It takes {GITHUB} and then"
        raise LanguageModelError("the model went away")

    given = []
    with pytest.raises(LanguageModelError, match="went away"):
        for piece in redact_stream(pieces()):
            given.append(piece)
    assert "".join(given) == "It takes [redacted: GitHub token] and then"


def test_closing_the_stream_closes_what_it_reads() -> None:
    closed = []

    def pieces() -> Generator[str]:
        try:
            while True:
                yield "on and on "
        finally:
            closed.append(True)

    text = redact_stream(pieces())
    next(text)
    text.close()
    assert closed
