"""A run is recorded in MLflow as its folder says; no tracking server stops it."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from data_tools.errors import ConfigError, StorageError, TrackingError
from data_tools.progress import Progress
from tests.tiny_model import make_tiny_model
from tests.training.mlflow_stores import free_port, make_store, mlflow_server
from tests.training.runs import losses, pretrain_config
from tests.training.tiny_stream import make_stream
from training import tracking
from training.config import TrainConfig
from training.mlflow_store import choose_uri, default_uri, open_client, without_password
from training.strict import validate
from training.tracking import (
    RunRecorder,
    experiment_name,
    finish_tracking,
    sync_run,
    tracking_callbacks,
)
from training.tracking_log import MAX_VALUE_CHARS
from training.tracking_record import STATE
from training.tracking_services import GuardedCallback
from training.train import train as train_run

FACTS = {"datasets": ["limits@0123456789ab"], "codeqa_commit": "c" * 40, "seed": 17}
LINES: list[dict[str, Any]] = [
    {"step": 0, "time": 1000.0, "eval_loss": 6.5},
    {"step": 1, "time": 1001.0, "loss": 6.25, "learning_rate": 1e-3, "tokens_per_s": 900},
    {"step": 2, "time": 1002.0, "loss": 5.5, "samples": [{"prompt": "def", "text": " take(self)"}]},
]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store() -> str:
    """The local store, empty."""
    return make_store()


def make_config(folder: Path, **content: Any) -> TrainConfig:
    content = {
        "objective": "pretrain",
        "output": str(folder),
        "model": {"architecture": {}, "tokenizer": "tokenizer/"},
        "data": {"streams": [{"dataset": "limits@0123456789ab"}]},
        **content,
    }
    return validate(TrainConfig, content, "test")


def make_run(folder: Path, lines: list[dict[str, Any]], **content: Any) -> TrainConfig:
    """Write what a run's folder holds."""
    config = make_config(folder, **content)
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(config.to_yaml())
    (folder / "run.json").write_text(json.dumps(FACTS))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return config


def train(config: TrainConfig, *, status: str = "FINISHED") -> list[str]:
    """Record a run as `Trainer` does; return what was told."""
    told: list[str] = []

    def report(progress: Progress) -> None:
        told.append(progress.message)

    callbacks = tracking_callbacks(config, FACTS, report)
    arguments = TrainingArguments(output_dir=config.output, report_to="none", use_cpu=True)
    state, control = TrainerState(), TrainerControl()
    for callback in callbacks:
        callback.on_train_begin(arguments, state, control)
        callback.on_log(arguments, state, control)
        callback.on_train_end(arguments, state, control)
    finish_tracking(callbacks, status)
    return told


def run_id(folder: Path) -> str:
    return str(json.loads((folder / STATE).read_text())["run_id"])


def test_the_store_is_a_file_in_the_cache_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_uri() == f"sqlite:///{tmp_path}/codeqa-cache/mlflow.db"
    assert choose_uri() == default_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert choose_uri() == "http://tracking:5000"
    assert choose_uri("databricks") == "databricks"


def test_an_address_is_shown_without_its_password() -> None:
    assert without_password("https://me:secret@host:80/a") == "https://host:80/a"
    assert without_password("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"


def test_a_run_is_recorded_with_configuration_data_metrics_samples_and_its_log(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    told = train(make_run(folder, LINES, optimizer={"learning_rate": 1e-3}))
    client = open_client(store)
    run = client.get_run(run_id(folder))
    experiment = client.get_experiment(run.info.experiment_id)
    assert told == []
    assert (experiment.name, run.info.run_name) == ("limits-pretrain", "run")
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.learning_rate"] == "0.001"
    assert run.data.params["data.streams.0.dataset"] == "limits@0123456789ab"
    assert run.data.tags["codeqa.codeqa_commit"] == "c" * 40
    assert run.inputs
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("limits", "0123456789ab")
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value, m.timestamp) for m in losses] == [
        (1, 6.25, 1_001_000),
        (2, 5.5, 1_002_000),
    ]
    assert run.data.metrics["eval_loss"] == 6.5
    assert run.info.artifact_uri.startswith((tmp_path / "codeqa-cache/mlartifacts").as_uri())
    kept = Path(run.info.artifact_uri.removeprefix("file://"))
    assert json.loads((kept / "samples/step-0000002.json").read_text()) == LINES[2]["samples"]
    assert (kept / "log.jsonl").read_text() == (folder / "log.jsonl").read_text()
    assert not (tmp_path / "mlruns").exists()


# streaming leaves files to the collector
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_training_records_itself(tmp_path: Path, store: str) -> None:
    tokenizer = make_tiny_model(tmp_path / "tokenizer")
    stream = make_stream(tmp_path / "limits", tokenizer, samples=16)
    config = pretrain_config(
        tmp_path / "run", tokenizer, stream, duration="2ba", tracking={"to": ["mlflow"]}
    )
    train_run(config)
    client = open_client(store)
    run = client.get_run(run_id(tmp_path / "run"))
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "limits-pretrain"
    recorded = client.get_metric_history(run.info.run_id, "loss")
    assert {metric.step: metric.value for metric in recorded} == losses(tmp_path / "run")
    assert len(client.get_metric_history(run.info.run_id, "eval_loss")) >= 2
    assert run.data.tags["codeqa.result"] == str(tmp_path / "run/model")


def test_a_run_that_goes_on_is_the_same_run_and_no_line_is_sent_twice(
    tmp_path: Path, store: str
) -> None:
    folder = tmp_path / "run"
    train(make_run(folder, LINES[:2]), status="KILLED")
    first = run_id(folder)
    assert open_client(store).get_run(first).info.status == "KILLED"
    train(make_run(folder, LINES))
    assert run_id(folder) == first
    history = open_client(store).get_metric_history(first, "loss")
    assert [metric.step for metric in history] == [1, 2]
    assert open_client(store).get_run(first).info.status == "FINISHED"


def test_a_half_written_line_waits_until_it_is_whole(tmp_path: Path, store: str) -> None:
    folder = tmp_path / "run"
    make_run(folder, LINES[:2])
    whole = json.dumps(LINES[2]) + "\n"
    with (folder / "log.jsonl").open("a") as log:
        log.write(whole[:20])
    assert sync_run(folder) == (store, 2)
    with (folder / "log.jsonl").open("a") as log:
        log.write(whole[20:])
    assert sync_run(folder) == (store, 1)
    assert open_client(store).get_run(run_id(folder)).data.metrics["loss"] == 5.5


def test_a_run_deleted_in_mlflow_is_recorded_anew(tmp_path: Path, store: str) -> None:
    folder = tmp_path / "run"
    config = make_run(folder, LINES)
    train(config)
    first = run_id(folder)
    open_client(store).delete_run(first)
    train(config)
    assert run_id(folder) != first
    assert open_client(store).get_run(run_id(folder)).data.metrics["loss"] == 5.5


def test_another_attempt_in_the_same_folder_is_another_run(tmp_path: Path, store: str) -> None:
    folder = tmp_path / "run"
    train(make_run(folder, LINES), status="FAILED")
    first = run_id(folder)
    train(make_run(folder, [line | {"time": 2000.0} for line in LINES], seed=18))
    assert run_id(folder) != first
    client = open_client(store)
    assert client.get_run(first).info.status == "FAILED"
    assert client.get_run(run_id(folder)).data.params["seed"] == "18"
    assert len(client.get_metric_history(run_id(folder), "loss")) == 2


def test_a_deleted_experiment_is_told_of_and_the_run_goes_on(tmp_path: Path, store: str) -> None:
    client = open_client(store)
    client.delete_experiment(client.create_experiment("limits-pretrain"))
    (told,) = train(make_run(tmp_path / "run", LINES))
    assert "limits-pretrain is deleted; restore it" in told


def test_long_values_are_cut_and_say_so(tmp_path: Path, store: str) -> None:
    folder = tmp_path / "run"
    train(make_run(folder, LINES, evaluation={"prompts": ["x" * 9000]}))
    shown = open_client(store).get_run(run_id(folder)).data.params["evaluation.prompts"]
    assert len(shown) == MAX_VALUE_CHARS
    assert shown.endswith("…")


def test_no_password_is_recorded(tmp_path: Path, store: str) -> None:
    folder = tmp_path / "run"
    url = "s3://key:hunter2@store/checkpoints"
    train(make_run(folder, LINES, checkpoint={"upload": url}))
    run = open_client(store).get_run(run_id(folder))
    assert run.data.params["checkpoint.upload"] == "s3://store/checkpoints"
    kept = Path(run.info.artifact_uri.removeprefix("file://"))
    assert (kept / "config.yaml").is_file()
    for file in (*kept.rglob("*"), tmp_path / "codeqa-cache/mlflow.db"):
        assert file.is_dir() or b"hunter2" not in file.read_bytes()


def test_numbers_that_are_none_do_not_stop_the_record(tmp_path: Path, store: str) -> None:
    folder = tmp_path / "run"
    lines = [{"step": 1, "loss": float("nan"), "bad": float("inf"), "name": "x", "done": True}]
    assert train(make_run(folder, [*lines, LINES[1]])) == []
    metrics = open_client(store).get_run(run_id(folder)).data.metrics
    assert set(metrics) == {"loss", "learning_rate", "tokens_per_s"}


def test_a_result_is_named_by_its_folder_and_hash_and_a_small_adapter_is_kept(
    tmp_path: Path, store: str
) -> None:
    folder = tmp_path / "run"
    config = make_run(folder, LINES)
    (folder / "adapter").mkdir()
    (folder / "adapter/adapter_model.safetensors").write_bytes(b"weights")
    train(config)
    run = open_client(store).get_run(run_id(folder))
    assert run.data.tags["codeqa.result"] == str(folder / "adapter")
    assert len(run.data.tags["codeqa.result_sha256"]) == 64
    kept = Path(run.info.artifact_uri.removeprefix("file://"))
    assert (kept / "adapter/adapter_model.safetensors").read_bytes() == b"weights"


def test_a_server_that_is_not_there_is_told_of_once_and_gets_everything_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_RETRIES", "BACKOFF_FACTOR"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "0")
    folder = tmp_path / "run"
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    config = make_run(folder, LINES)
    started = time.monotonic()
    (told,) = train(config)
    assert time.monotonic() - started < 15
    assert "does not answer" in told
    assert f"codeqa runs --sync {folder}" in told
    assert "secret" not in told
    with pytest.raises(TrackingError, match="does not answer; start it"):
        sync_run(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", make_store())
    assert sync_run(folder)[1] == 3


def test_a_run_is_recorded_on_mlflow_s_own_server_with_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_folder = tmp_path / "server"
    with mlflow_server(server_folder) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        folder = tmp_path / "run"
        assert train(make_run(folder, LINES)) == []
        run = open_client(uri).get_run(run_id(folder))
        assert run.data.metrics["loss"] == 5.5
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    (log,) = (server_folder / "files").rglob("log.jsonl")
    assert log.read_text() == (folder / "log.jsonl").read_text()


def test_the_steps_do_not_wait_for_the_server(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "END_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes requests and never answers
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        told: list[Progress] = []
        config = make_run(tmp_path / "run", LINES)
        recorder = RunRecorder(config, FACTS, told.append)
        arguments = TrainingArguments(output_dir=config.output, report_to="none", use_cpu=True)
        recorder.on_train_begin(arguments, TrainerState(), TrainerControl())
        started = time.monotonic()
        for _ in range(1000):
            recorder.on_log(arguments, TrainerState(), TrainerControl())
        assert time.monotonic() - started < 0.5
        recorder.finish("FINISHED")
    assert "slow" in told[0].message


def test_only_the_first_process_records(tmp_path: Path, store: str) -> None:
    config = make_run(tmp_path / "run", LINES)
    (recorder,) = tracking_callbacks(config, FACTS)
    arguments = TrainingArguments(output_dir=config.output, report_to="none", use_cpu=True)
    second = TrainerState(is_world_process_zero=False)
    recorder.on_train_begin(arguments, second, TrainerControl())
    finish_tracking([recorder])
    assert not (tmp_path / "run" / STATE).exists()


def test_an_experiment_is_named_after_data_and_objective(tmp_path: Path) -> None:
    config = make_config(tmp_path, data={"streams": [{"dataset": "data/shards/"}]})
    assert experiment_name(config, {}) == "shards-pretrain"
    assert experiment_name(config, FACTS) == "limits-pretrain"
    named = make_config(tmp_path, tracking={"experiment": "mine"})
    assert experiment_name(named, FACTS) == "mine"


def test_a_folder_that_is_no_run_cannot_be_sent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run's folder"):
        sync_run(tmp_path)


def test_a_file_that_is_no_database_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database " * 1000)
    with pytest.raises(TrackingError, match="move that file away"):
        open_client(f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        open_client(f"sqlite:///{tmp_path}/file/mlflow.db")


@pytest.mark.parametrize("service", ["wandb", "comet_ml"])
def test_a_service_that_is_not_installed_names_what_to_install(
    tmp_path: Path, service: str
) -> None:
    config = make_config(tmp_path, tracking={"to": [service]})
    with pytest.raises(ConfigError, match=r"pip install (wandb|comet-ml)"):
        tracking_callbacks(config, FACTS)


def test_another_service_s_failure_stops_no_run(tmp_path: Path) -> None:
    from transformers import TrainerCallback

    class Broken(TrainerCallback):
        calls = 0

        def on_log(self, *arguments: object, **named: object) -> None:
            self.calls += 1
            raise ConnectionError("no network\nmore")

    told: list[Progress] = []
    inner = Broken()
    guarded = GuardedCallback(inner, "wandb", told.append)
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    for _ in range(3):
        guarded.on_log(arguments, TrainerState(), TrainerControl())
    assert inner.calls == 1
    assert [progress.message for progress in told] == [
        "wandb does not record this run, which goes on: no network"
    ]
