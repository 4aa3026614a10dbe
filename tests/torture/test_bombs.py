"""What is made to fill memory or to take for ever is indexed, or refused, in little of both."""

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.chunk import chunk_file
from data_tools.languages import LANGUAGES
from data_tools.limits import PARSE_TIMEOUT_S
from data_tools.sources import SourceFile
from tests.fuzz.fuzz_chunker import check_cover
from tests.torture.bomb_steps import Outcome
from tests.torture.bombs import BOMBS, Bomb, grammar_bombs, remove
from tests.torture.conftest import WHOLE, Cases, Tally

MAX_PEAK_MB = 1_000
TIME_S = 3_000.0 if WHOLE else 60.0  # for one; 1,000,000 files are read and indexed in it
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def steps() -> Iterator["subprocess.Popen[str]"]:
    """A program that indexes each in a fork of its own."""
    command = [sys.executable, "-m", "tests.torture.bomb_steps"]
    characters, files = (200_000_000, 1_000_000) if WHOLE else (4_000_000, 10_000)
    surroundings = os.environ | {
        "CODEQA_MAX_CHARACTERS": str(characters),
        "CODEQA_MAX_FILES": str(files),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        command, cwd=ROOT, env=surroundings, stdin=-1, stdout=-1, text=True
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def index(process: "subprocess.Popen[str]", repository: Path, folder: Path) -> Outcome:
    """Have a repository indexed."""
    assert process.stdin
    assert process.stdout
    task = {"repository": str(repository), "index": str(folder), "time_s": TIME_S}
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    return Outcome(**json.loads(process.stdout.readline()))


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name.replace(" ", "-"))
def test_a_bomb_is_indexed_or_refused(
    bomb: Bomb, steps: "subprocess.Popen[str]", tmp_path: Path, cases: Cases, tally: Tally
) -> None:
    repository = tmp_path / "bomb"
    repository.mkdir()
    try:
        bomb.make(repository, cases(bomb.reduced, bomb.whole))
        outcome = index(steps, repository, tmp_path / "index")
    finally:
        remove(repository)
    assert not outcome.killed
    assert outcome.peak_mb < MAX_PEAK_MB
    if bomb.refused:
        assert bomb.refused in outcome.error
    else:
        assert not outcome.error
        assert outcome.files
    reasons = outcome.skipped or {}
    assert any(bomb.skipped in reason for reason in reasons) or not bomb.skipped
    tally(
        f"bomb: {bomb.name}",
        came_to="refused" if outcome.error else f"{outcome.files:,} files indexed",
        seconds=round(outcome.seconds, 1),
        peak_MB=outcome.peak_mb,
    )


def test_what_grammars_find_hard_is_cut_in_time(cases: Cases, tally: Tally) -> None:
    slowest, tried = 0.0, 0
    for language in (each.name for each in LANGUAGES if each.grammar):
        bombs = list(grammar_bombs(cases(20_000, 900_000)))
        for text in random.Random(language).sample(bombs, cases(3, 12)):
            file = SourceFile("bomb", "c" * 40, "a", language, text, "0" * 64)
            started = time.monotonic()
            check_cover(file, chunk_file(file))
            slowest, tried = max(slowest, time.monotonic() - started), tried + 1
    assert slowest < PARSE_TIMEOUT_S * 10  # also where other programs take the processor
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    tally("grammar bombs", texts=tried, slowest_s=round(slowest, 1), peak_MB=peak_mb)
