"""Training that is killed, or out of space, goes on, and ends with the very same weights.

Datasets whose writing is broken off at any change of a file are the old ones or the new ones.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from data_tools.dataset import read_manifest, verify
from data_tools.flatten import flatten
from tests.conftest import TINY_FILES
from tests.data_tools.corpora import tiny_tokenizer
from tests.git_repositories import commit_files, make_repository
from tests.tiny_model import make_tiny_model
from tests.torture.conftest import Cases, Tally
from tests.torture.faults import Call, Fault, Faulty, check_problem, choose_points
from tests.torture.index_steps import CHANGED_FILES
from tests.torture.train_steps import convert_corpus, flatten_repository, train_model
from tests.training.runs import losses, pretrain_config
from tests.training.tiny_stream import make_stream

KEPT = 2  # checkpoints


def points_of(calls: Sequence[Call], wanted: int) -> list[Fault]:
    """Points to kill a run at, and half as many where the disk is full or broken."""
    kills = choose_points(calls, wanted, ("kill", "tear"))
    return kills + choose_points(calls, wanted // 2, ("full", "fail"))


def digests(folder: Path, *, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """The hash of every file below a folder; nothing where there is none."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in leave_out
    }


def test_a_run_that_is_broken_off_goes_on_and_ends_with_the_same_weights(
    tmp_path: Path, faulty: Faulty, cases: Cases, tally: Tally
) -> None:
    tokenizer = make_tiny_model(tmp_path / "tiny")
    words = make_stream(tmp_path / "words", tokenizer)

    def config(folder: Path, keep: int) -> dict[str, object]:
        checkpoint = {"interval": "2ba", "keep": keep}
        keys = {"duration": "7ba", "checkpoint": checkpoint}
        return pretrain_config(folder, tokenizer, words, **keys).model_dump(mode="json")

    whole, run = tmp_path / "whole", tmp_path / "run"
    calls = faulty.run(train_model, whole, config=config(whole, 100)).calls
    states = {step.name: digests(step) for step in (whole / "checkpoints").iterdir()}
    assert len(states) > KEPT

    resumed = 0
    points = points_of(calls, cases(1, 24))
    for point in points:
        shutil.rmtree(run, ignore_errors=True)
        broken = faulty.run(train_model, run, point, config=config(run, KEPT))
        if not broken.killed and not broken.told:
            check_problem(broken, point)
        kept = list((run / "checkpoints").glob("step-*"))
        resumed += bool(kept)
        for step in kept:
            assert digests(step) == states[step.name], (point, step.name)
        again = faulty.run(train_model, run, config=config(run, KEPT))
        assert again.told[-1]["status"] in ("finished", "already finished"), point
        assert digests(run / "model", leave_out=("codeqa.json",)) == digests(
            whole / "model", leave_out=("codeqa.json",)
        )
        assert losses(run) == losses(whole)
        left = {path.name for path in (run / "checkpoints").iterdir()}
        assert left <= states.keys() and len(left) <= KEPT, point
        assert not list(run.glob(".model.*")), point
    kills = sum(point.action in ("kill", "tear") for point in points)
    tally("kill -9: training", points=kills, resumed=resumed, other_weights=0)
    tally("full or broken disk: training", points=len(points) - kills, other_weights=0)


def test_a_corpus_that_is_broken_off_is_the_old_one_or_the_new_one(
    tmp_path: Path, faulty: Faulty, cases: Cases, tally: Tally
) -> None:
    repository = make_repository(tmp_path / "limits", TINY_FILES)
    before, out = tmp_path / "before", tmp_path / "out"
    flatten([str(repository)], before)
    old = digests(before / "limits")
    commit_files(repository, CHANGED_FILES)
    shutil.copytree(before, out)
    arguments = {"repository": str(repository), "out": str(out)}
    calls = faulty.run(flatten_repository, out, **arguments).calls
    new = digests(out / "limits")
    assert new != old

    found = {"old": 0, "new": 0}
    for point in points_of(calls, cases(2, 60)):
        shutil.rmtree(out)
        shutil.copytree(before, out)
        run = faulty.run(flatten_repository, out, point, **arguments)
        if not run.killed and not run.told:
            check_problem(run, point)
        left = digests(out / "limits")
        assert left in (old, new), point
        found["new" if left == new else "old"] += 1
        flatten([str(repository)], out)
        assert digests(out / "limits") == new
        assert {path.name for path in out.iterdir()} <= {"limits", ".lock"}, point
    tally("kill -9 or full disk: flatten", points=sum(found.values()), **found, mixed=0)


def test_a_dataset_that_is_broken_off_is_the_old_one_or_the_new_one(
    tmp_path: Path, faulty: Faulty, cases: Cases, tally: Tally
) -> None:
    corpus, before, place = tmp_path / "corpus", tmp_path / "before", tmp_path / "data"
    tokenizer = tiny_tokenizer(tmp_path / "tokenizer")
    corpus.mkdir()
    for number in range(6):
        (corpus / f"{number}.txt").write_text(f"def take_{number}(): return {number}\n" * 9)
    out = str(place / "shards")
    arguments = {"corpus": str(corpus), "out": out, "tokenizer": tokenizer}
    (old,) = faulty.run(convert_corpus, place, **arguments).told
    shutil.copytree(place, before)
    (corpus / "6.txt").write_text("def refill(): return 1\n" * 9)
    whole = faulty.run(convert_corpus, place, **arguments)
    (new,) = whole.told
    assert new != old

    found = {"old": 0, "new": 0}
    for point in points_of(whole.calls, cases(2, 60)):
        shutil.rmtree(place)
        shutil.copytree(before, place)
        run = faulty.run(convert_corpus, place, point, **arguments)
        if not run.killed and not run.told:
            check_problem(run, point)
        manifest = read_manifest(Path(out))
        verify(Path(out))
        assert manifest.version in (old["version"], new["version"]), point
        found["new" if manifest.version == new["version"] else "old"] += 1
        assert faulty.run(convert_corpus, place, **arguments).told == (new,)
        verify(Path(out))
        left = {path.name for path in place.iterdir()}  # removed when it is next written
        assert left <= {"shards", ".shards.new", ".shards.lock"}, point
    tally("kill -9 or full disk: convert", points=sum(found.values()), **found, mixed=0)
