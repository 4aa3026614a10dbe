"""Runs that were recorded, newest first, and the command that shows them in MLflow's own page."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from training.mlflow_store import (
    ARTIFACTS,
    choose_uri,
    local_folder,
    open_client,
    tracking_errors,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

LISTED = 100  # runs at most


@dataclass(frozen=True)
class RecordedRun:
    """One run.

    :param status: MLflow's: `RUNNING`, `FINISHED`, `FAILED` or `KILLED`.
    :param started: UTC, as ISO 8601.
    :param step: of the last record.
    :param metrics: the last of each.
    :param folder: the run's own, on the machine that it ran on.
    :param result: its model's or adapter's folder; None before it has one.
    """

    name: str
    run_id: str
    experiment: str
    status: str
    started: str
    step: int
    metrics: dict[str, float]
    folder: str | None
    result: str | None


def list_runs(limit: int = LISTED) -> list[RecordedRun]:
    """List the newest runs that codeqa recorded.

    :raises TrackingError: MLflow does not answer.
    """
    uri = choose_uri()
    client = open_client(uri)
    with tracking_errors(uri):
        experiments = {each.experiment_id: each.name for each in client.search_experiments()}
        runs = client.search_runs(
            list(experiments),
            filter_string="tags.`codeqa.folder` LIKE '%'",
            max_results=limit,
            order_by=["attributes.start_time DESC"],
        )
        return [_describe(run, experiments[run.info.experiment_id]) for run in runs]


def page_command(host: str, port: int) -> list[str] | None:
    """Return the command that serves MLflow's page on the local store; None: it is a server's.

    :raises TrackingError: the store cannot be opened.
    """
    uri = choose_uri()
    if uri.startswith(("http://", "https://", "databricks")):
        return None
    open_client(uri)  # makes the tables, or says what is wrong with them
    folder = local_folder(uri)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    if folder:
        command += ["--artifacts-destination", (folder.absolute() / ARTIFACTS).as_uri()]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    return [*command, "--uvicorn-opts", "--log-level warning"]


def _describe(run: "Run", experiment: str) -> RecordedRun:
    started = datetime.fromtimestamp((run.info.start_time or 0) / 1000, UTC)
    step = max((metric.step for metric in run.data._metric_objs), default=0)
    return RecordedRun(
        name=str(run.info.run_name),
        run_id=str(run.info.run_id),
        experiment=experiment,
        status=str(run.info.status),
        started=started.isoformat(timespec="seconds"),
        step=step,
        metrics=dict(run.data.metrics),
        folder=run.data.tags.get("codeqa.folder"),
        result=run.data.tags.get("codeqa.result"),
    )
