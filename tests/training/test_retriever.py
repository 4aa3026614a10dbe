"""Tuning, from repositories to a model folder: whole, resumable, and refused if it is worse."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from app.cli import main
from data_tools.errors import EmbedderError, SourceError, StorageError, WorseModelError
from data_tools.progress import Progress
from retrieval import CodeIndex
from retrieval.embed import open_embedder
from tests.training.tiny_encoder import bilingual_files, make_tiny_encoder
from training.retriever import tune_retriever
from training.retriever_card import TuningSettings
from training.retriever_pace import FitSettings

ROOT = Path(__file__).parent.parent.parent
LEARNS = FitSettings(learning_rate=5e-3, epochs=20, batch_size=32)
LEARNS_NOTHING = FitSettings(learning_rate=0.0, epochs=1, batch_size=32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights."""
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain folder whose docstrings and code are in two languages."""
    folder = tmp_path_factory.mktemp("repository") / "bilingual"
    folder.mkdir()
    for name, text in bilingual_files().items():
        (folder / name).write_text(text)
    return folder


def settings(encoder: Path, fit: FitSettings) -> TuningSettings:
    return TuningSettings(embedder=str(encoder), fit=fit)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_tuned_model_finds_what_the_base_did_not_and_is_used_like_any_other(
    encoder: Path, repository: Path, tmp_path: Path
) -> None:
    steps: list[Progress] = []
    out = tmp_path / "tuned"
    report = tune_retriever([str(repository)], out, settings(encoder, LEARNS), report=steps.append)
    assert report.better
    dense = report.rows[0]
    assert (dense.repo, dense.mode, dense.metric) == ("all", "dense", "file_ndcg@10")
    assert dense.base < 0.1 < 0.3 < dense.tuned and dense.low > 0.1
    assert dense.questions >= 20
    assert {"mine", "embed", "train", "mix", "measure"} <= {step.stage for step in steps}
    trained = [step for step in steps if step.stage == "train"]
    assert trained[-1].done == trained[-1].total == report.steps
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]

    written = json.loads((out / "codeqa-tuning.json").read_text("utf-8"))
    assert written["settings"] == json.loads(json.dumps(asdict(report.settings)))
    assert written["repositories"][0]["commit"] == "worktree"
    assert written["mined"] == {"docstring": 150}
    assert written["examples"]["docstring"] + written["filtered"]["docstring"] < 150
    assert f"| all | dense | file_ndcg@10 | {dense.questions} |" in (out / "README.md").read_text()

    question = "Carefully weighs the yellow boat"
    with CodeIndex.build([str(repository)], tmp_path / "index", embedder=str(out)) as index:
        hits = index.search(question, 5, mode="dense")
        assert any("pesa_barca_giallo" in hit.chunk.text for hit in hits)
        assert index.embedder.fingerprint == open_embedder(str(out)).fingerprint
    assert open_embedder(str(out)).fingerprint != open_embedder(str(encoder)).fingerprint


def test_a_model_that_is_no_better_is_refused_unless_that_is_asked_for(
    encoder: Path, repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tuned"
    learns_nothing = settings(encoder, LEARNS_NOTHING)
    with pytest.raises(WorseModelError, match=r"dense nDCG@10 0\.\d+ against 0\.\d+ .*--force"):
        tune_retriever([str(repository)], out, learns_nothing)
    assert not out.exists()
    steps: list[Progress] = []
    report = tune_retriever([str(repository)], out, learns_nothing, force=True, report=steps.append)
    assert not report.better
    assert "NOT better" in (out / "README.md").read_text("utf-8")
    assert "train" not in {step.stage for step in steps}, "what was done should not be done again"
    assert open_embedder(str(out)).embed(["casa"]).shape == (1, 64)


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_weights(
    encoder: Path, repository: Path, tmp_path: Path
) -> None:
    fit = replace(LEARNS, epochs=30)  # enough for the second half to be killed in
    whole = tune_retriever([str(repository)], tmp_path / "whole", settings(encoder, fit))
    out = tmp_path / "killed"
    code = (
        "from pathlib import Path\n"
        "from training.retriever import tune_retriever\n"
        "from training.retriever_card import TuningSettings\n"
        "from training.retriever_pace import FitSettings\n"
        f"tune_retriever([{str(repository)!r}], Path({str(out)!r}),\n"
        f"    TuningSettings(embedder={str(encoder)!r}, fit={fit!r}))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    work = tmp_path / "killed.partial"
    _wait_until(lambda: bool(list(work.glob("checkpoints/*/WHOLE"))), child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not out.exists() and not (work / "trained").exists(), "it was killed too late"
    steps: list[Progress] = []
    resumed = tune_retriever([str(repository)], out, settings(encoder, fit), report=steps.append)
    first = next(step for step in steps if step.stage == "train")
    assert first.done > 1, "it should go on from the checkpoint"
    assert weights(out) == weights(tmp_path / "whole")
    assert resumed.rows == whole.rows


def _wait_until(condition: Callable[[], bool], child: "subprocess.Popen[bytes]") -> None:
    while not condition():
        assert child.poll() is None, child.communicate()
        time.sleep(0.001)


def test_what_another_run_left_is_not_used(encoder: Path, repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    with pytest.raises(WorseModelError):
        tune_retriever([str(repository)], out, settings(encoder, LEARNS_NOTHING))
    steps: list[Progress] = []
    fit = replace(LEARNS_NOTHING, seed=1)
    with pytest.raises(WorseModelError):
        tune_retriever([str(repository)], out, settings(encoder, fit), report=steps.append)
    assert any(step.message.startswith("starting afresh") for step in steps)
    assert {"mine", "train"} <= {step.stage for step in steps}


def test_training_is_cut_short_to_the_time_it_may_take(
    encoder: Path, repository: Path, tmp_path: Path
) -> None:
    fit = replace(LEARNS, minutes=1e-9)
    steps: list[Progress] = []
    report = tune_retriever(
        [str(repository)],
        tmp_path / "tuned",
        settings(encoder, fit),
        force=True,
        report=steps.append,
    )
    assert report.steps == 1
    assert any(step.message.startswith("training 1 of ") for step in steps)


def test_the_command_prints_both_models_and_says_how_to_use_the_tuned_one(
    encoder: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "tuned")
    arguments = ["tune-retriever", str(repository), "--embedder", str(encoder), "--out", out]
    code = main(arguments)
    shown = capsys.readouterr()
    if code:  # five steps of a random model: it may go either way
        assert "--force" in shown.err.splitlines()[-1]
        assert main([*arguments, "--force"]) == 0
        shown = capsys.readouterr()
    head, first = shown.out.splitlines()[:2]
    assert head.split()[:6] == ["repository", "search", "metric", "n", "base", "tuned"]
    assert first.split()[:3] == ["all", "dense", "file_ndcg@10"]
    assert shown.out.splitlines()[-1].endswith(f"--embedder {out}`")


def test_a_repository_with_nothing_to_learn_from_is_refused(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "a.py").write_text("a = 1\n")
    out = tmp_path / "tuned"
    with pytest.raises(SourceError, match="add a repository that is documented"):
        tune_retriever([str(tmp_path / "bare")], out, settings(encoder, LEARNS))
    (tmp_path / "bare" / "a.py").write_text(bilingual_files()["parte000.py"])
    with pytest.raises(SourceError, match="only 0 questions to train on|could be mined"):
        tune_retriever([str(tmp_path / "bare")], out, settings(encoder, LEARNS))
    assert not out.exists()


def test_a_folder_that_holds_something_is_never_written_to(
    encoder: Path, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    (tmp_path / "file").touch()
    for name in ("mine", "file"):
        with pytest.raises(StorageError, match="is not an empty folder; choose another --out"):
            tune_retriever([str(repository)], tmp_path / name, settings(encoder, LEARNS))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine"]


def test_a_model_that_is_not_there_is_refused_before_anything_is_made(
    repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmbedderError, match="holds no safetensors weights"):
        tune_retriever([str(repository)], tmp_path / "tuned", settings(tmp_path / "empty", LEARNS))
    assert not (tmp_path / "tuned.partial").exists()


def test_a_folder_that_cannot_be_made_is_named(
    encoder: Path, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write to"):
        tune_retriever([str(repository)], tmp_path / "file" / "out", settings(encoder, LEARNS))
