"""A chat that is killed at any change of its file has kept all that it had said it had.

The real desk, history and saver work in a process of their own; a stub of a model server answers.
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
from tests.torture.faults import Faulty, choose_points


@pytest.fixture
def stub() -> Iterator[StubOpenAI]:
    models = ("stub-model", "tuned-model")
    with StubOpenAI(REPLY, models=models, delta_chars=16, delay_s=0.02) as stub:
        yield stub


def test_a_chat_that_is_killed_has_kept_all_that_it_had_said(
    tiny_repo: Path, tmp_path: Path, stub: StubOpenAI, faulty: Faulty, cases: Cases, tally: Tally
) -> None:
    index, before, folder = tmp_path / "index", tmp_path / "before", tmp_path / "data"
    index_repositories([str(tiny_repo)], index, embedder=FakeEncoder())
    ids = fill(before / FILE, index, stub.url)
    arguments = {"index": str(index), "history": str(folder / FILE), "url": stub.url, **ids}

    shutil.copytree(before, folder)
    whole = faulty.run(use_chat, folder, **arguments)
    assert whole.told[-1] == {"closed": True}
    check(folder / FILE, index, whole.told, ids)

    points = choose_points(whole.calls, cases(3, 150), ("kill", "tear"))
    cut_short = told = 0
    for point in points:
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        run = faulty.run(use_chat, folder, point, **arguments)
        check(folder / FILE, index, run.told, ids)
        cut_short += run.killed
        told += len(run.told)
    tally("kill -9: chat", points=len(points), killed=cut_short, told=told, lost=0)
