"""First sentences: markup taken off, boilerplate refused."""

import time

import pytest

from data_tools.sentences import MAX_WORDS, first_sentence


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Save a checkpoint to disk. It is large.", "Save a checkpoint to disk"),
        ("Save the checkpoint\nto a folder.\n\nMore.", "Save the checkpoint to a folder"),
        ("Save it to the disk, e.g. as a file.", "Save it to the disk, e.g. as a file"),
        ("Runs :class:`~pkg.Trainer` on ``data``.", "Runs Trainer on data"),
        ("Runs the\n:class:`.Trainer` on data.", "Runs the Trainer on data"),
        ("See how `rows <http://a.b>`_ are read.", None),
        ("Read `rows <http://a.b>`_ line by line.", "Read rows line by line"),
        ("Reads [the rows](page.md) of **all** files.", "Reads the rows of all files"),
        ("Opens {@link Box} with <b>the</b> key.", "Opens Box with the key"),
        ("Open the box now\n:param key: with this", "Open the box now"),
        ("Open the box now\nArgs:\n    key: this", "Open the box now"),
        ("Replaces all class:`.Box` by lids", "Replaces all Box by lids"),
        ("Path of the box lid\nReuses what is open", "Path of the box lid"),
        ("Keeps `__init__` and **kwargs as given.", "Keeps __init__ and kwargs as given"),
    ],
)
def test_the_first_sentence_is_plain_words(docstring: str, sentence: str | None) -> None:
    assert first_sentence(docstring) == sentence


def test_a_docstring_made_to_take_long_does_not() -> None:
    began = time.perf_counter()
    for hostile in ("{@a " + " " * 200_000, "`" * 200_000, "[" * 200_000, "a:" * 100_000 + "`"):
        assert first_sentence(hostile) is None
    assert time.perf_counter() - began < 1.0  # of 0.01; minutes, if all of it were looked at


@pytest.mark.parametrize(
    "docstring",
    [
        "",
        "Open it.",
        "Initialize self.  See help(type(self)) for accurate signature.",
        "TODO: say what this does one day",
        "Test that the box opens twice.",
        "Update the given value with it.",
        "This class holds all of the boxes.",
        "Open the box, as described in the",
        "Open the box (and shut it again",
        "x = {a: b} | c = d",
        "-- -- ++ ++ -- ab",
        "word " * (MAX_WORDS + 1),
    ],
)
def test_what_asks_nothing_is_refused(docstring: str) -> None:
    assert first_sentence(docstring) is None
