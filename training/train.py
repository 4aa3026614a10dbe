"""One run from its configuration to its model, in this process, together with others if launched.

A run that is finished is left alone; one that was stopped or killed goes on from its last
checkpoint, with the batches and losses that it would have had. Nothing is downloaded but what the
configuration names.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.errors import DatasetError
from data_tools.progress import Progress, ReportProgress
from training.config import TrainConfig
from training.run_folder import LOG, RunFolder, read_log

if TYPE_CHECKING:
    from training.run import Run
    from training.trainer import RunTrainer


@dataclass(frozen=True)
class TrainReport:
    """What came of a run.

    :param folder: of the model or the adapter; the run's own if it was stopped.
    :param status: `finished` now, `already finished` before, or `stopped` by SIGTERM.
    :param steps: optimiser steps taken, those before a stop included.
    :param first: metrics before the first step, as far as they were measured.
    :param last: those measured last.
    """

    folder: Path
    status: str
    steps: int
    first: dict[str, float]
    last: dict[str, float]


def train(config: TrainConfig, report: ReportProgress = lambda progress: None) -> TrainReport:
    """Train as configured; goes on from the last checkpoint if there is one.

    :raises ConfigError: the folder holds another run, or one on other data.
    :raises DatasetError: a dataset is missing, damaged, or of another tokenizer.
    :raises ModelError: the model or the tokenizer cannot be loaded.
    :raises TrainingError: the run cannot go on; its checkpoints are intact.
    :raises StorageError: the disk is full; the checkpoints are intact.
    """
    folder = RunFolder(config)
    folder.check()
    if folder.is_finished:
        with contextlib.suppress(DatasetError):  # data that is gone has not changed
            versions = _data_versions(config)
            if versions is not None:
                folder.check_facts(versions)
        return _make_report(folder, "already finished")
    from training.model import quiet_libraries

    quiet_libraries()  # before what follows imports them
    from training.run import open_run

    run = open_run(config, report)
    try:
        with run.termination:
            status = _fit(run, _prepare(run))
    finally:
        _leave_together()
        run.folder.unlock()
    return _make_report(folder, status)


def _data_versions(config: TrainConfig) -> list[str] | None:
    """Name the data of a run as it is now; None where that would take the network."""
    if config.objective == "pretrain":
        from training.streams import stream_versions

        return stream_versions(config.data.streams)
    from training.conversations import pair_versions

    return pair_versions(config.data.pairs)


def _prepare(run: "Run") -> "RunTrainer":
    if run.config.objective == "pretrain":
        from training import pretrain

        return pretrain.prepare(run)
    from training import instruct

    return instruct.prepare(run)


def _fit(run: "Run", trainer: "RunTrainer") -> str:
    from training.tracking import finish_tracking

    if run.resume:
        message = f"going on after step {run.resume.name.removeprefix('step-')}"
        run.report(Progress("notice", message=message))
    outcome = "FAILED"
    try:
        trainer.train(resume_from_checkpoint=str(run.resume) if run.resume else None)
        run.checkpoints.finish()
        if run.termination.is_granted:
            outcome = "KILLED"
            return "stopped"
        run.write_result(trainer)
        trainer.clean_up()
        outcome = "FINISHED"
        return "finished"
    finally:
        finish_tracking(run.tracking, outcome)


def _leave_together() -> None:
    """Close the connection between the processes; without it some hang at their end."""
    import sys

    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        if sys.exc_info()[0] is None:  # else the others may never arrive
            distributed.barrier()
        distributed.destroy_process_group()


def _make_report(folder: RunFolder, status: str) -> TrainReport:
    lines = read_log(folder.path) if (folder.path / LOG).is_file() else []
    measured = [_numbers(line) for line in lines if any(key.startswith("eval_") for key in line)]
    return TrainReport(
        folder=folder.path if status == "stopped" else folder.result,
        status=status,
        steps=max((int(line["step"]) for line in lines if "loss" in line), default=0),
        first=measured[0] if measured else {},
        last=measured[-1] if measured else {},
    )


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key.startswith("eval_")}
