"""What other libraries say, as codeqa passes it on: one printable line."""

import pickle

import pytest

from data_tools.errors import LONGEST_REASON, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such layer\nTraceback"), "no such layer"),
        (ValueError(" \n"), "ValueError"),
        (KeyError(), "KeyError"),
        (RuntimeError("\x1b[1mtrust me\x1b[0m"), "�[1mtrust me�[0m"),
        (RuntimeError("x" * 1_000), "x" * LONGEST_REASON),
        (
            pickle.UnpicklingError("set weights_only=False if you trust the file"),
            "it holds a pickle, and none is loaded",
        ),
    ],
)
def test_a_reason_is_one_printable_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
