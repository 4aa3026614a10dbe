"""A run that is killed and started again learns what it would have learned."""

import shutil
import signal
from pathlib import Path

import pytest

from data_tools.errors import ConfigError
from tests.tiny_model import make_tiny_model
from tests.training.runs import (
    batches,
    kill,
    losses,
    pretrain_config,
    run_command,
    start,
    wait_for_step,
)
from tests.training.tiny_stream import make_stream
from training.train import train

pytestmark = [
    # streaming leaves closing its files to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
STEPS = 24


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tokenizer") / "tiny")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Path:
    return make_stream(tmp_path_factory.mktemp("data") / "words", tokenizer)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path, words: Path) -> Path:
    """The folder of a run that was not disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    report = train(pretrain_config(folder, tokenizer, words, duration=f"{STEPS}ba"))
    assert report.status == "finished"
    return folder


def test_a_run_that_is_killed_has_exactly_the_losses_and_weights_of_one_that_is_not(
    tmp_path: Path, tokenizer: Path, words: Path, whole: Path
) -> None:
    config = pretrain_config(tmp_path / "run", tokenizer, words, duration=f"{STEPS}ba")
    with start(config, tmp_path / "run.yaml") as process:
        wait_for_step(process, tmp_path / "run", 11)
        kill(process)
    report = train(config)
    assert report.status == "finished"
    assert losses(tmp_path / "run") == losses(whole)  # exactly
    assert batches(tmp_path / "run") == batches(whole)
    weights = [folder / "model" / "model.safetensors" for folder in (tmp_path / "run", whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_sigterm_saves_stops_with_143_and_the_same_command_goes_on(
    tmp_path: Path, tokenizer: Path, words: Path, whole: Path
) -> None:
    keys = {"duration": f"{STEPS}ba", "checkpoint": {"interval": "1000ba"}}
    config = pretrain_config(tmp_path / "run", tokenizer, words, **keys)
    with start(config, tmp_path / "run.yaml") as process:
        wait_for_step(process, tmp_path / "run", 4)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "stopped and saved after step" in output
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    train(config)
    assert losses(tmp_path / "run") == losses(whole)


def test_two_processes_that_are_killed_go_on_with_the_same_batches(
    tmp_path: Path, tokenizer: Path, words: Path, whole: Path
) -> None:
    config = pretrain_config(tmp_path / "run", tokenizer, words, duration=f"{STEPS}ba")
    with start(config, tmp_path / "run.yaml", workers=2) as process:
        wait_for_step(process, tmp_path / "run", 8)
        kill(process)
    assert not (tmp_path / "run" / "model").exists()
    code, output = run_command(config, tmp_path / "run.yaml", workers=2)
    assert code == 0, output
    assert "going on after step" in output
    assert batches(tmp_path / "run") == batches(whole)  # those of one process, too
    found, expected = losses(tmp_path / "run"), losses(whole)
    assert max(abs(found[step] - expected[step]) for step in expected) < 1e-4


def test_a_finished_run_that_is_started_again_does_nothing(
    whole: Path, tokenizer: Path, words: Path
) -> None:
    before = (whole / "log.jsonl").read_bytes()
    report = train(pretrain_config(whole, tokenizer, words, duration=f"{STEPS}ba"))
    assert report.status == "already finished"
    assert report.steps == STEPS
    assert (whole / "log.jsonl").read_bytes() == before


def test_a_run_that_ended_before_its_model_was_written_takes_no_further_step(
    tmp_path: Path, tokenizer: Path, words: Path
) -> None:
    optimizer = {"schedule": "constant", "warmup": "0ba"}
    config = pretrain_config(
        tmp_path / "run", tokenizer, words, duration="4ba", optimizer=optimizer
    )
    train(config)
    model = tmp_path / "run" / "model"
    weights = (model / "model.safetensors").read_bytes()
    shutil.rmtree(model)
    assert train(config).steps == 4
    assert (model / "model.safetensors").read_bytes() == weights


def test_another_configuration_for_the_same_folder_is_refused_by_the_name_of_the_key(
    whole: Path, tokenizer: Path, words: Path
) -> None:
    optimizer = {"learning_rate": 0.01}
    config = pretrain_config(whole, tokenizer, words, duration=f"{STEPS}ba", optimizer=optimizer)
    with pytest.raises(ConfigError, match=r"`optimizer.learning_rate` 0.0003, and now it is 0.01"):
        train(config)


def test_keys_that_change_nothing_of_what_is_learned_may_differ(
    whole: Path, tokenizer: Path, words: Path
) -> None:
    keys = {"duration": f"{STEPS}ba", "evaluation": {"interval": "7ba"}, "compile": True}
    assert train(pretrain_config(whole, tokenizer, words, **keys)).status == "already finished"


def test_other_data_under_the_same_name_is_refused(
    tmp_path: Path, tokenizer: Path, words: Path
) -> None:
    config = pretrain_config(tmp_path / "run", tokenizer, tmp_path / "data", duration="3ba")
    make_stream(tmp_path / "data", tokenizer, seed=1)
    train(config)
    shutil.rmtree(tmp_path / "run" / "model")
    shutil.rmtree(tmp_path / "data")
    make_stream(tmp_path / "data", tokenizer, seed=2)
    with pytest.raises(ConfigError, match=r"a run on data@\w+, and the data is now data@"):
        train(config)
