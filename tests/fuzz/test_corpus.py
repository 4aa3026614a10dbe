"""What the fuzzing programs begin with, and what they once found, keeps its promises."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import fuzz_chunker, fuzz_manifest
from tests.fuzz.harness import seeds

PROGRAMS = {"chunker": fuzz_chunker.check, "manifest": fuzz_manifest.check}
INPUTS = [(check, file) for name, check in PROGRAMS.items() for file in seeds(name)]


@pytest.mark.parametrize(("check", "file"), INPUTS, ids=lambda value: getattr(value, "name", ""))
def test_an_input_of_the_corpus_breaks_no_promise(
    check: Callable[[bytes], None], file: Path
) -> None:
    check(file.read_bytes())


@settings(max_examples=200)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_and_cut(data: bytes) -> None:
    fuzz_chunker.check(data)


@settings(max_examples=200)
@given(
    data=st.binary(max_size=200)
    | st.text(alphabet='{}[]":,0123456789.aeflnrstu \\').map(str.encode)
)
def test_any_manifest_is_read_or_refused(data: bytes) -> None:
    fuzz_manifest.check(data)


def test_an_input_that_breaks_a_promise_is_kept_and_shown(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="needs atheris, which is not built for this platform")
    program = tmp_path / "fuzz_never.py"
    program.write_text(
        "from tests.fuzz import harness\n"
        "def check(data):\n    assert b'x' not in data\n"
        "harness.main('chunker', check)\n"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, str(program), "-max_total_time=20"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "To try it again" in run.stderr
    (kept,) = (tmp_path / "build" / "fuzz").glob("chunker-crash-*")
    assert b"x" in kept.read_bytes()
