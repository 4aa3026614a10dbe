"""Record a run while it trains: in MLflow by default, in Comet or Weights & Biases if asked.

MLflow is sent to by a thread of its own, which reads the run's `log.jsonl`: a step never waits for
a server. One that does not answer is told of once and tried again now and then; what it missed it
gets at the end, or by `codeqa runs --sync RUN`. No tracking server stops a run.
"""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data_tools.errors import CodeQAError, ConfigError
from data_tools.progress import Progress, ReportProgress
from training.config import TrainConfig, load_config
from training.mlflow_store import choose_uri, open_client, without_password
from training.tracking_log import read_json
from training.tracking_record import CONFIG, RESULTS, RUN, RunRecord
from training.tracking_services import open_service

SEND_S = 5.0  # shortest time between two calls of the server
RETRY_S = 60.0  # until a server that did not answer is tried again
END_S = 30.0  # longest wait for it when the run ends


def tracking_callbacks(
    config: TrainConfig, facts: Mapping[str, Any], report: ReportProgress | None = None
) -> list[TrainerCallback]:
    """Make what a `Trainer` has to call so that a run is recorded where `config.tracking` says.

    Only the first of several processes records. Give the `Trainer` itself `report_to="none"`, and
    call `finish_tracking` when the model is written.

    :param facts: what stands in `run.json`; `datasets` are the versions, `NAME@HASH` each.
    :param report: is told once if a server does not answer.
    :raises ConfigError: a service whose package is not installed.
    """
    report = report or _ignore
    return [
        RunRecorder(config, facts, report)
        if service == "mlflow"
        else open_service(
            service,
            experiment=experiment_name(config, facts),
            folder=Path(config.output).expanduser(),
            report=report,
        )
        for service in config.tracking.to
    ]


def finish_tracking(callbacks: Sequence[TrainerCallback], status: str = "FINISHED") -> None:
    """End a run's record, after its model is written; a server never makes it fail.

    :param callbacks: what `tracking_callbacks` gave; others among them are left alone.
    :param status: `FINISHED`, `FAILED` or `KILLED`.
    """
    for callback in callbacks:
        if isinstance(callback, RunRecorder):
            callback.finish(status)


def sync_run(folder: Path) -> tuple[str, int]:
    """Send MLflow what it lacks of a run.

    :param folder: the run's folder.
    :return: MLflow's address, and how many lines of the log were sent.
    :raises ConfigError: the folder holds no run.
    :raises TrackingError: MLflow does not answer.
    """
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder} is no run's folder, it holds no {CONFIG}: give a run's output")
    config = load_config(folder / CONFIG)
    record = _open_record(config, read_json(folder / RUN), folder)
    is_finished = any((folder / name).is_dir() for name in RESULTS)
    sent = record.end("FINISHED") if is_finished else record.send()
    return without_password(choose_uri(config.tracking.uri)), sent


def experiment_name(config: TrainConfig, facts: Mapping[str, Any]) -> str:
    """Name the experiment that a run belongs to: one a dataset and objective."""
    if config.tracking.experiment:
        return config.tracking.experiment
    given = [stream.dataset for stream in config.data.streams] or config.data.pairs
    dataset = next(iter([*facts.get("datasets", []), *given]))
    name = dataset.rstrip("/").rpartition("/")[2].partition("@")[0].removesuffix(".jsonl")
    return f"{name or 'data'}-{config.objective}"


class RunRecorder(TrainerCallback):
    """Records a run in MLflow, from a thread."""

    def __init__(
        self, config: TrainConfig, facts: Mapping[str, Any], report: ReportProgress
    ) -> None:
        self._config = config
        self._facts = facts
        self._report = report
        self._sender: _Sender | None = None
        self._told = False

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Open the store, and start to send."""
        if not state.is_world_process_zero or self._sender:
            return
        try:
            record = _open_record(self._config, self._facts, Path(self._config.output).expanduser())
        except CodeQAError as error:
            self._tell(str(error))
            return
        self._sender = _Sender(record)
        self._sender.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Say once that the server does not answer; the thread finds new lines by itself."""
        if self._sender and self._sender.problem:
            self._tell(self._sender.problem)

    def finish(self, status: str) -> None:
        """Send the rest and end the run; waits `END_S` seconds at most."""
        sender, self._sender = self._sender, None
        if sender is None:
            return
        sender.end(status)
        sender.join(END_S)
        if sender.is_alive():
            self._tell("the tracking server is slow")
        elif sender.problem:
            self._tell(sender.problem)

    def _tell(self, problem: str) -> None:
        if not self._told:
            self._told = True
            message = (
                f"{problem}; the run goes on, and `codeqa runs --sync {self._config.output}` sends "
                "what is missing"
            )
            self._report(Progress("notice", message=message))


class _Sender(threading.Thread):
    """Sends what is new every few seconds, until it is told that the run has ended."""

    def __init__(self, record: RunRecord) -> None:
        super().__init__(name="mlflow", daemon=True)  # a server that hangs keeps no process alive
        self.problem = ""
        self._record = record
        self._ended = threading.Event()
        self._status = "FINISHED"

    def run(self) -> None:
        while not self._ended.is_set():
            self._attempt()
            self._ended.wait(RETRY_S if self.problem else SEND_S)
        self._attempt(self._status)

    def end(self, status: str) -> None:
        self._status = status
        self._ended.set()

    def _attempt(self, status: str | None = None) -> None:
        try:
            if status:
                self._record.end(status)
            else:
                self._record.send()
            self.problem = ""
        except Exception as error:  # the boundary: a thread's error would be lost
            self.problem = str(error) or type(error).__name__


def _open_record(config: TrainConfig, facts: Mapping[str, Any], folder: Path) -> RunRecord:
    uri = choose_uri(config.tracking.uri)
    return RunRecord(
        open_client(uri),
        folder,
        uri=uri,
        experiment=experiment_name(config, facts),
        config=config.model_dump(mode="json"),
        datasets=tuple(facts.get("datasets", ())),
    )


def _ignore(progress: Progress) -> None:
    """Tell nobody."""
