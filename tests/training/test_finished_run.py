"""A run that is finished is left alone, unless its data is no longer what it learned from."""

import json
from pathlib import Path

import pytest

from data_tools.errors import ConfigError
from training.config import TrainConfig
from training.conversations import pair_versions
from training.run_folder import RunFolder
from training.train import train


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"question": "What is it?", "answer": "A bucket."}) + "\n")
    return file


@pytest.fixture
def finished(tmp_path: Path, rows: Path) -> TrainConfig:
    """The configuration of a run whose model is there."""
    content = {
        "objective": "instruct",
        "output": str(tmp_path / "run"),
        "model": {"name": "any"},
        "data": {"pairs": [str(rows)]},
    }
    config = TrainConfig.model_validate(content)
    folder = RunFolder(config)
    folder.begin(pair_versions([str(rows)]) or [])
    folder.result.mkdir()
    return config


def test_a_finished_run_is_left_alone(finished: TrainConfig) -> None:
    assert train(finished).status == "already finished"


def test_a_finished_run_on_other_data_is_not_taken_for_this_one(
    finished: TrainConfig, rows: Path
) -> None:
    with rows.open("a") as file:
        file.write(json.dumps({"question": "And now?", "answer": "Two."}) + "\n")
    with pytest.raises(ConfigError, match=r"the data is now rows@\w+; give another `output`"):
        train(finished)


def test_a_finished_run_needs_its_data_no_more(finished: TrainConfig, rows: Path) -> None:
    rows.unlink()
    assert train(finished).status == "already finished"
