"""Nothing takes its place, and nothing is said to be done, before it is on the disk itself."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY_FILES
from tests.data_tools.corpora import tiny_tokenizer
from tests.git_repositories import commit_files, make_repository
from tests.tiny_model import make_tiny_model
from tests.torture.chat_checks import FILE
from tests.torture.chat_steps import keep_history
from tests.torture.conftest import Cases, Tally
from tests.torture.durability import list_losses
from tests.torture.faults import Call, Faulty
from tests.torture.index_steps import CHANGED_FILES, CHANGES, prepare, write_index
from tests.torture.train_steps import convert_corpus, flatten_repository, train_model
from tests.training.runs import pretrain_config
from tests.training.tiny_stream import make_stream


@pytest.mark.parametrize("name", CHANGES)
def test_an_index_is_on_the_disk_before_it_is_switched_to(
    name: str, tmp_path: Path, faulty: Faulty, tally: Tally
) -> None:
    change, folder = CHANGES[name], tmp_path / "index"
    added = prepare(change, tmp_path, folder)
    remove = list(change.remove)
    run = faulty.run(write_index, folder, folder=str(folder), add=added, remove=remove)
    assert list_losses(run.calls, folder) == []
    tally(f"power cut: {name}", calls=len(run.calls), lost=0)


def test_what_a_chat_keeps_is_on_the_disk_when_it_says_so(
    tmp_path: Path, faulty: Faulty, tally: Tally
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    run = faulty.run(keep_history, folder, history=str(folder / FILE))
    assert len(run.told) == 5
    assert list_losses(run.calls, folder, passing=["-shm"]) == []
    tally("power cut: conversations", calls=len(run.calls), lost=0)


def test_a_corpus_and_a_dataset_are_on_the_disk_before_they_take_their_place(
    tmp_path: Path, faulty: Faulty, tally: Tally
) -> None:
    repository, out = make_repository(tmp_path / "limits", {"a": ""}), tmp_path / "out"
    tokenizer = tiny_tokenizer(tmp_path / "tokenizer")
    out.mkdir()
    calls = 0
    for files in (TINY_FILES, CHANGED_FILES):  # in an empty place, and in the place of another
        commit_files(repository, files)
        corpus = {"repository": str(repository), "out": str(out)}
        written = faulty.run(flatten_repository, out, **corpus)
        assert list_losses(written.calls, out, passing=[".lock"]) == []
        shutil.copytree(out / "limits", tmp_path / "texts", dirs_exist_ok=True)
        shards = {"corpus": str(tmp_path / "texts"), "out": str(tmp_path / "made" / "shards")}
        made = faulty.run(convert_corpus, tmp_path / "made", tokenizer=tokenizer, **shards)
        assert list_losses(made.calls, tmp_path / "made", passing=[".lock"]) == []
        calls += len(written.calls) + len(made.calls)
    tally("power cut: corpora and datasets", calls=calls, lost=0)


def test_checkpoints_and_models_are_on_the_disk_before_they_take_their_place(
    tmp_path: Path, faulty: Faulty, cases: Cases, tally: Tally
) -> None:
    if not cases(0, 1):
        pytest.skip("it takes ten seconds: `make torture` runs it")
    tokenizer, folder = make_tiny_model(tmp_path / "tiny"), tmp_path / "run"
    words = make_stream(tmp_path / "words", tokenizer)
    keys = {"duration": "4ba", "checkpoint": {"interval": "2ba", "keep": 1}}
    config = pretrain_config(folder, tokenizer, words, **keys).model_dump(mode="json")
    run = faulty.run(train_model, folder, config=config)
    passing = ["log.jsonl", ".lock"]
    calls = [call for call in run.calls if f"{folder}/shards" not in call.path]
    # safetensors writes beside its file and renames by a call of its own, which is not seen.
    calls = [call for call in calls if "/.tmp" not in call.path]
    synced = [call.path for call in calls if call.name == "sync"]
    assert sum(path.endswith(".safetensors") for path in synced) == 3  # two checkpoints, the model
    # A checkpoint that was removed may come back, whole.
    back = {f"{folder}/checkpoints at told "}
    assert set(list_losses(calls, folder, passing=passing)) <= back
    tally("power cut: training", calls=len(run.calls), lost=0)


@pytest.mark.parametrize(
    ("calls", "losses"),
    [
        ([("write", "/new"), ("rename", "/new", "/old")], ["/new at rename /new"]),
        ([("write", "/new"), ("sync", "/new"), ("rename", "/new", "/old")], []),
        ([("create", "/d/new"), ("sync", "/d/new"), ("told",)], ["/d at told "]),
        ([("folder", "/d/f"), ("sync", "/d/f"), ("exchange", "/d", "/e")], ["/d at exchange /d"]),
        ([("write", "/a"), ("sync all", "/"), ("told",)], []),
        ([("write", "/a"), ("remove", "/a"), ("told",)], []),
    ],
)
def test_what_is_not_waited_for_in_time_is_found(
    calls: list[tuple[str, ...]], losses: list[str]
) -> None:
    assert list_losses([Call(*[*call, "", ""][:3]) for call in calls], Path("/")) == losses
