"""A disk that is full, or broken, at any write: one line says so, and nothing that was there goes.

From the chosen call on, whatever takes space fails as on a full disk, its first write after half
of its bytes; or one wait for the disk fails. Then there is space again, and the same command ends.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.index import index_repositories
from tests.fakes import FakeEncoder
from tests.stub_openai import StubOpenAI
from tests.torture.chat_checks import FILE, REPLY, check, fill
from tests.torture.chat_steps import use_chat
from tests.torture.conftest import Cases, Tally
from tests.torture.faults import Faulty, check_problem, choose_points
from tests.torture.index_steps import (
    CHANGES,
    finish,
    list_litter,
    prepare,
    read_state,
    write_index,
)


@pytest.mark.parametrize("name", ["first index", "update after a commit"])
def test_an_index_without_space_says_so_and_stays_as_it_was(
    name: str, tmp_path: Path, faulty: Faulty, cases: Cases, tally: Tally
) -> None:
    change, before, folder = CHANGES[name], tmp_path / "before", tmp_path / "index"
    added = prepare(change, tmp_path, before)
    arguments = {"folder": str(folder), "add": added, "remove": []}
    shutil.copytree(before, folder)
    old = read_state(folder)
    calls = faulty.run(write_index, folder, **arguments).calls
    new = read_state(folder)
    assert new

    points = choose_points(calls, cases(3, 120), ("full", "fail"))
    for point in points:
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        run = faulty.run(write_index, folder, point, **arguments)
        left = read_state(folder)
        if run.told:  # nothing that matters needed the space
            assert left == new, point
        else:
            check_problem(run, point)
            assert left == old or (left and left.is_or_becomes(new)), point
        assert not [name for name in list_litter(folder) if name.endswith((".partial", ".new"))]
        assert finish(change, folder, added) == new, point
        assert not list_litter(folder), point
    tally(f"full or broken disk: {name}", points=len(points), lost=0, mixed=0, litter=0)


@pytest.fixture
def stub() -> Iterator[StubOpenAI]:
    models = ("stub-model", "tuned-model")
    with StubOpenAI(REPLY, models=models, delta_chars=16, delay_s=0.01) as stub:
        yield stub


def test_a_chat_without_space_says_what_is_not_kept_and_keeps_the_rest(
    tiny_repo: Path, tmp_path: Path, stub: StubOpenAI, faulty: Faulty, cases: Cases, tally: Tally
) -> None:
    index, before, folder = tmp_path / "index", tmp_path / "before", tmp_path / "data"
    index_repositories([str(tiny_repo)], index, embedder=FakeEncoder())
    ids = fill(before / FILE, index, stub.url)
    arguments = {"index": str(index), "history": str(folder / FILE), "url": stub.url, **ids}
    shutil.copytree(before, folder)
    calls = faulty.run(use_chat, folder, **arguments).calls

    points = choose_points(calls, cases(2, 60), ("full", "fail"))
    said = 0
    for point in points:
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        run = faulty.run(use_chat, folder, point, **arguments)
        if run.problem:
            check_problem(run, point)
        said += bool(run.problem) or any("unsaved" in each for each in run.told)
        check(folder / FILE, index, run.told, ids)
    tally("full or broken disk: chat", points=len(points), said=said, lost=0)
