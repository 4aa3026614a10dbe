"""What is a loop and what is not, and where a text is cut."""

from collections.abc import Generator, Iterable

import pytest

from app.llm_limits import LOOP_CHARS, is_loop, within_limits

PARAGRAPH = "The trainer calls each callback in the order that it was given, then logs. " * 4


def stream(pieces: Iterable[str], seen: list[str] | None = None) -> Generator[str]:
    for piece in pieces:
        if seen is not None:
            seen.append(piece)
        yield piece


def read(pieces: Generator[str, None, str | None]) -> tuple[str, str | None]:
    text = ""
    while True:
        try:
            text += next(pieces)
        except StopIteration as ended:
            return text, ended.value


LOOPS = {
    "a line": "intro\n" + "- it stops when the time is up\n" * 50,
    "a word": "and then " + "the " * 300,
    "a letter": "x" * LOOP_CHARS,
    "a paragraph": "First. " + (PARAGRAPH + "\n\n") * 6,
    "a turn that holds its own end twice": ("a" + "-" * 70 + "b" + "-" * 70) * 8,
}
NO_LOOPS = {
    "nothing": "",
    "a short text": "Yes.",
    "a rule": "Heading\n" + "-" * 200,
    "ten equal lines": "x = 0\n" * 10,
    "a numbered list": "".join(f"{number}. the same words\n" for number in range(200)),
    "a table of numbers": "".join(f"| {number} | {number * 7} | yes |\n" for number in range(200)),
    "two equal paragraphs": PARAGRAPH.replace("calls", "asks", 1) + PARAGRAPH,
    "a loop that was left": "the " * 300 + "rest is as it was, but for one thing that was changed."
    " It is long enough to be no part of what was said before.",
    "spaces": " " * 5_000,
}


@pytest.mark.parametrize("text", LOOPS.values(), ids=LOOPS)
def test_a_repetition_is_a_loop(text: str) -> None:
    assert is_loop(text)


@pytest.mark.parametrize("text", NO_LOOPS.values(), ids=NO_LOOPS)
def test_what_only_resembles_one_is_none(text: str) -> None:
    assert not is_loop(text)


def test_a_text_within_limits_passes_as_it_is() -> None:
    pieces = ["It ", "stops", "."]
    passed = within_limits(stream(pieces), max_chars=9)
    assert [next(passed), next(passed), next(passed)] == pieces
    assert read(passed) == ("", None)


def test_a_text_is_cut_in_the_piece_that_crosses_the_limit_and_its_source_closed() -> None:
    seen: list[str] = []
    text, cut = read(
        within_limits(stream(["It ", "stops", " now", " and then"], seen), max_chars=9)
    )
    assert (text, cut) == ("It stops ", "it had grown to 9 characters")
    assert seen == ["It ", "stops", " now"]


def test_a_loop_is_cut_soon_after_it_can_be_told() -> None:
    seen: list[str] = []
    text, cut = read(within_limits(stream(["no "] * 10_000, seen), max_chars=99_999))
    assert cut == "it said the same over and over"
    assert LOOP_CHARS <= len(text) <= LOOP_CHARS + 200
    assert len(seen) < 450
