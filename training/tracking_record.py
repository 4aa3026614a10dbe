"""A run's folder, and its copy in MLflow.

The folder is the truth: `config.yaml`, `run.json` and `log.jsonl`, written while the run goes on.
MLflow gets what it does not have yet, as often as one likes: after every few steps, when a run goes
on after it was stopped, or days later, when the server is there again. `tracking.json` in the
folder says which MLflow run it is and how many lines of the log it has. Nothing here is needed for
training, and nothing is read back from MLflow but whether the run is still there.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.drafts import whole_file
from data_tools.errors import TrackingError
from training.hashes import model_hash, weight_files
from training.mlflow_store import artifact_location, tracking_errors, without_password
from training.tracking_log import (
    batched,
    flatten,
    hash_bytes,
    hash_first_line,
    offset_of,
    read_json,
    read_lines,
    shorten,
    step_of_line,
    to_metrics,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONFIG, RUN, LOG, STATE = "config.yaml", "run.json", "log.jsonl", "tracking.json"
RESULTS = ("model", "adapter")  # what a finished run's folder holds, one of them
MAX_ADAPTER_BYTES = 500_000_000  # larger results are named, not copied
_METRICS_PER_CALL, _PARAMS_PER_CALL = 1000, 100  # MLflow takes no more


@dataclass(frozen=True)
class _State:
    """What MLflow has of a run: how many lines of the log, and of the rest, what."""

    uri: str
    run_id: str
    lines: int = 0
    first_line: str = ""
    description: str = ""
    result: str = ""


class RunRecord:
    """One run's copy in MLflow.

    :param folder: the run's folder.
    :param uri: MLflow's address.
    :param experiment: made if there is none of that name.
    :param config: the resolved configuration, nested.
    :param datasets: the versions trained on, `NAME@HASH` each.
    """

    def __init__(
        self,
        client: "MlflowClient",
        folder: Path,
        *,
        uri: str,
        experiment: str,
        config: Mapping[str, Any],
        datasets: tuple[str, ...],
    ) -> None:
        self._client = client
        self._folder = folder
        self._uri = uri
        self._experiment = _experiment_name(uri, experiment)
        self._config = config
        self._datasets = datasets
        self._description = hash_bytes(json.dumps([config, datasets], sort_keys=True).encode())
        self._state = _read_state(folder, uri)
        self._opened = False
        self._offset = 0

    def send(self) -> int:
        """Send what MLflow does not have yet; return how many lines of the log.

        :raises TrackingError: it does not answer, or refuses; what is sent stays sent.
        """
        with tracking_errors(self._uri):
            state = self._open()
            if not state.description:
                self._describe(state.run_id)
                state = self._keep(replace(state, description=self._description))
            return self._send_lines(state)

    def end(self, status: str) -> int:
        """Send the rest, name the model, and end the run; return how many lines were sent.

        :param status: of MLflow's: `FINISHED`, `FAILED` or `KILLED`.
        :raises TrackingError: it does not answer, or refuses.
        """
        sent = self.send()
        with tracking_errors(self._uri):
            state = self._open()
            self._send_result(state)
            for name in (CONFIG, RUN):
                if (self._folder / name).is_file():
                    text = without_password((self._folder / name).read_text("utf-8"))
                    self._client.log_text(state.run_id, text, name)
            if (self._folder / LOG).is_file():
                self._client.log_artifact(state.run_id, str(self._folder / LOG))
            self._client.set_terminated(state.run_id, status)
        return sent

    def _open(self) -> _State:
        """Find the run, or make it; one that had ended goes on."""
        state = self._state
        if state and self._opened:
            return state
        if state and self._is_same(state) and self._is_there(state.run_id):
            self._client.update_run(state.run_id, status="RUNNING")
        else:
            name = self._folder.resolve().name
            run = self._client.create_run(self._open_experiment(), run_name=name)
            state = self._keep(_State(without_password(self._uri), str(run.info.run_id)))
        self._offset = offset_of(self._folder / LOG, state.lines)
        self._opened = True
        return state

    def _is_same(self, state: _State) -> bool:
        """Whether the folder still holds the run that was sent, and no other attempt."""
        if state.lines:
            return state.first_line == hash_first_line(self._folder / LOG)
        return state.description in ("", self._description)

    def _is_there(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def _open_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            try:
                location = artifact_location(self._uri, self._experiment)
                return str(self._client.create_experiment(self._experiment, location))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(self._experiment)  # made just now
        if found is None or found.lifecycle_stage != "active":
            raise TrackingError(
                f"MLflow's experiment {self._experiment} is deleted; restore it there, or set "
                "`tracking.experiment` to another name"
            )
        return str(found.experiment_id)

    def _describe(self, run_id: str) -> None:
        """Send what stays the same: configuration, dataset versions, how it was started."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

        params = [Param(key, value) for key, value in flatten(self._config)]
        for batch in batched(params, _PARAMS_PER_CALL):
            self._client.log_batch(run_id, params=batch)
        facts = read_json(self._folder / RUN)
        tags = {"codeqa.folder": str(self._folder.resolve())}
        tags |= {f"codeqa.{key}": shorten(value) for key, value in flatten(facts)}
        for chunk in batched(list(tags.items()), _PARAMS_PER_CALL):
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in chunk])
        inputs = [
            DatasetInput(
                Dataset(name, digest[:36] or "0", "codeqa", json.dumps({"reference": reference})),
                [InputTag("mlflow.data.context", "training")],
            )
            for reference in self._datasets
            for name, _, digest in [reference.rpartition("/")[2].partition("@")]
        ]
        if inputs:
            self._client.log_inputs(run_id, inputs)

    def _send_lines(self, state: _State) -> int:
        """Send whole lines of the log that were not sent; a half-written one waits."""
        sent = 0
        for lines, offset in read_lines(self._folder / LOG, self._offset):
            metrics = [metric for line in lines for metric in to_metrics(line)]
            for batch in batched(metrics, _METRICS_PER_CALL):
                self._client.log_batch(state.run_id, metrics=batch)
            for line in lines:
                if line.get("samples"):
                    self._client.log_dict(
                        state.run_id, line["samples"], f"samples/step-{step_of_line(line):07}.json"
                    )
            first = state.first_line or hash_first_line(self._folder / LOG)
            state = self._keep(replace(state, lines=state.lines + len(lines), first_line=first))
            self._offset, sent = offset, sent + len(lines)
        return sent

    def _send_result(self, state: _State) -> None:
        """Name the model or adapter of a finished run, and copy it if it is a small adapter."""
        for name in RESULTS:
            folder = self._folder / name
            files = weight_files(folder) if folder.is_dir() else []
            if not files:
                continue
            digest = model_hash(folder)
            if digest == state.result:
                return
            self._client.set_tag(state.run_id, "codeqa.result", str(folder.resolve()))
            self._client.set_tag(state.run_id, "codeqa.result_sha256", digest)
            if name == "adapter" and sum(f.stat().st_size for f in files) <= MAX_ADAPTER_BYTES:
                self._client.log_artifacts(state.run_id, str(folder), name)
            self._keep(replace(state, result=digest))

    def _keep(self, state: _State) -> _State:
        with whole_file(self._folder / STATE) as draft:
            draft.write_text(json.dumps(asdict(state), indent=1) + "\n", "utf-8")
        self._state = state
        return state


def _read_state(folder: Path, uri: str) -> _State | None:
    """What was sent before, if it was sent to this address."""
    try:
        state = _State(**read_json(folder / STATE))
    except TypeError:  # none, or of another version
        return None
    return state if state.uri == without_password(uri) else None


def _experiment_name(uri: str, name: str) -> str:
    """Databricks wants experiments to have the path of a workspace."""
    if uri.startswith("databricks") and not name.startswith("/"):
        return f"/Shared/{name}"
    return name
