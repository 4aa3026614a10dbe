"""Indexes with damaged files: an error that says what to do, or the answers of the whole index.

`noticed` is damage that changes a file's size, time or place, or hits a file that is hashed at
every opening. `unnoticed` is what a failing disk may do to the files of a large index, which are
not: there, too, nothing crashes, and no line is shown that was not indexed; but the words may find
other passages than they should, until `codeqa status --verify` or the weekly check looks.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrieval.index import index_repositories
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.torture.conftest import Cases, Tally

ROOT = Path(__file__).parents[2]
FORMS = {"small": 1_000_000, "large": 0}  # chunks up to which every vector is compared
WORDS = (".fast", ".fieldnorm", ".idx", ".pos", ".store", ".term")  # files of tantivy


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `small` and `large`, each with an index and another one like it."""
    folder = tmp_path_factory.mktemp("indexes")
    for name, word in (("index", "words"), ("other", "signs")):
        source = write_source(folder / name, word)
        for form, exact_up_to in FORMS.items():
            place = folder / form / name
            index_repositories(
                [str(source)], place, embedder=FakeEncoder(), exact_up_to=exact_up_to
            )
    return folder


def write_source(folder: Path, word: str) -> Path:
    """A plain folder of 30 modules, enough for several pages of SQLite."""
    modules = {
        f"pkg/module_{number}.py": "".join(
            f"def function_{number}_{part}(argument):\n"
            f'    """Return what number {number * part} is for, in {word}."""\n'
            f"    return argument * {number} + {part}\n\n\n"
            for part in range(8)
        )
        for number in range(30)
    }
    for name, text in {**TINY_FILES, **modules}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def try_all(folder: Path, noticed: str, count: int) -> list[dict[str, str]]:
    """Try so many cases, on all cores."""
    parts = min(os.cpu_count() or 1, 1 + count // 100)  # to start one takes a second

    def run(part: int) -> list[dict[str, str]]:
        arguments = [str(folder), noticed, str(count), str(part), str(parts)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.torture.damaged_index", *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=3_000,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor(parts) as pool:
        return [result for results in pool.map(run, range(parts)) for result in results]


def is_right(result: dict[str, str], noticed: str) -> bool:
    """Tell whether damage led to an error or to the same answers, before and after an update."""
    came = {result["asked"], result["updated"]} - {"same", "error"}
    file = result["damage"].partition(":")[0]
    return not came or (noticed == "unnoticed" and came == {"other order"} and file.endswith(WORDS))


@pytest.mark.parametrize("noticed", ["noticed", "unnoticed"])
@pytest.mark.parametrize("form", list(FORMS))
def test_a_damaged_index_says_so_or_answers_as_before(
    indexes: Path, form: str, noticed: str, cases: Cases, tally: Tally
) -> None:
    results = try_all(indexes / form, noticed, cases(16, 520))
    asked = Counter(result["asked"].partition(":")[0] for result in results)
    healed = sum(r["updated"] == "same" for r in results if r["asked"] == "error")
    faults = [result for result in results if not is_right(result, noticed)]
    tally(
        f"damaged index, {form}, {noticed}",
        cases=len(results),
        typed_errors=asked["error"],
        healed_by_an_update=healed,
        same_answers=asked["same"],
        true_lines_in_another_order=asked["other order"],
        crashes_or_false_lines=len(faults),
    )
    assert not faults, json.dumps(faults[:10], indent=1)
    assert asked["error"]
    assert asked["same"] or len(results) < 100  # few cases may all be noticed
