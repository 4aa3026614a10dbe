"""A run's YAML file is read strictly, completed, and changed from the command line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli import main
from data_tools.errors import ConfigError
from training.config import Duration, TrainConfig, load_config

PRETRAIN: dict[str, Any] = {
    "objective": "pretrain",
    "output": "runs/code",
    "model": {"architecture": {"hidden_size": 64, "heads": 2}, "tokenizer": "tokenizers/code"},
    "data": {"streams": [{"dataset": "code@0123456789ab"}]},
}


def write(folder: Path, content: dict[str, Any]) -> Path:
    """The configuration as a file."""
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    return file


def changed(**keys: Any) -> dict[str, Any]:
    """The configuration with other top-level keys."""
    return PRETRAIN | keys


def test_a_file_is_completed_with_defaults_and_reads_back_the_same(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, PRETRAIN))
    assert str(config.duration) == "1ep"
    assert config.batch.microbatch == "auto"
    file = tmp_path / "resolved.yaml"
    file.write_text(config.to_yaml(), "utf-8")
    assert load_config(file) == config


def test_overrides_change_nested_keys_and_list_entries(tmp_path: Path) -> None:
    overrides = ["optimizer.learning_rate=1e-4", "data.streams.0.weight=2", "duration=200ba"]
    config = load_config(write(tmp_path, PRETRAIN), overrides)
    assert config.optimizer.learning_rate == 1e-4
    assert config.data.streams[0].weight == 2
    assert str(config.duration) == "200ba"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(durations="1ep"), "unknown key `durations`; did you mean `duration`?"),
        (
            changed(optimizer={"lerning_rate": 1.0}),
            "unknown key `lerning_rate` in `optimizer`; did you mean `learning_rate`?",
        ),
        (changed(batch={"size": "8"}), "`batch.size`: input should be a valid integer, not '8'"),
        (changed(duration="0.5dur"), "`duration` must be epochs or batches"),
        (changed(duration="0ba"), "`duration` must be epochs or batches"),
        (changed(duration="10 steps"), "must be like 1ep"),
        (changed(duration="1.5ba"), "batches must be a whole number"),
        (changed(model={"name": "a", "architecture": {}}), "give either `model.name` or"),
        (changed(model={"architecture": {}}), "a new model needs `model.tokenizer`"),
        (
            changed(model={"architecture": {"hidden_size": 100, "heads": 3}, "tokenizer": "t"}),
            "`hidden_size` must be an even multiple of `heads`",
        ),
        (changed(data={"pairs": ["p"]}), "`objective: pretrain` needs `data.streams`"),
        (
            changed(data={"streams": [{"dataset": "a", "weight": 1}, {"dataset": "b"}]}),
            "give every stream a `weight`, or none",
        ),
        ({"objective": "pretrain"}, "`output` is missing"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_key(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, content))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_durations_count_steps() -> None:
    assert Duration.parse("2ep").steps(epoch_steps=10) == 20
    assert Duration.parse("0.5ep").steps(epoch_steps=10) == 5
    assert Duration.parse("7ba").steps(epoch_steps=10) == 7
    assert Duration.parse("0.1dur").steps(epoch_steps=10, total_steps=200) == 20
    with pytest.raises(ValueError, match="share of itself"):
        Duration.parse("0.1dur").steps(epoch_steps=10)


def test_a_dry_run_prints_the_resolved_configuration_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, changed(output=str(tmp_path / "run")))
    assert main(["train", "-f", str(file), "batch.size=64", "--dry-run"]) == 0
    printed = TrainConfig.model_validate(yaml.safe_load(capsys.readouterr().out))
    assert printed.batch.size == 64
    assert printed.optimizer.schedule == "cosine"
    assert not (tmp_path / "run").exists()


def test_a_typing_error_in_an_override_is_said_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, PRETRAIN)
    assert main(["train", "-f", str(file), "batch.sise=64"]) == 1
    assert "unknown key `sise` in `batch`; did you mean `size`?" in capsys.readouterr().err
