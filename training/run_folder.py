"""A run's folder: what it was told, what it learned when, and what came of it.

`config.yaml` is the resolved configuration, `run.json` what else determines the run, `log.jsonl`
one line an event. The log only grows: a run that was killed and goes on writes the steps after its
last checkpoint again, with the same numbers. A folder of another run is refused, not overwritten.
"""

import json
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from data_tools.drafts import whole_file
from data_tools.errors import ConfigError, TrainingError
from data_tools.git_commands import open_git
from data_tools.storage import storage_errors
from training.config import TrainConfig

CONFIG, FACTS, LOG, LOCK = "config.yaml", "run.json", "log.jsonl", ".lock"
LOCK_WAIT_S = 10.0  # for processes to end that were just killed
RESULTS = {"full": "model", "lora": "adapter", "qlora": "adapter"}
# What may differ when a run goes on: nothing here changes what is learned.
HARMLESS = (
    "evaluation",
    "checkpoint",
    "tracking",
    "parallel",
    "compile",
    "gradient_checkpointing",
    "batch.microbatch",
)
LIBRARIES = ("torch", "transformers", "accelerate", "mosaicml-streaming", "trl", "peft")


class RunFolder:
    """The folder that a configuration's `output` names.

    :param is_writer: this process is the one that writes; the others only read.
    """

    def __init__(self, config: TrainConfig, *, is_writer: bool = True) -> None:
        self.path = Path(config.output).expanduser()
        self.result = self.path / RESULTS[config.model.method]
        self.checkpoints = self.path / "checkpoints"
        self._config = config
        self._is_writer = is_writer
        self._lock = FileLock(self.path / LOCK)

    @property
    def is_finished(self) -> bool:
        """Whether its model is there."""
        return self.result.is_dir()

    @property
    def is_begun(self) -> bool:
        """Whether there is something that another run would spoil."""
        return self.is_finished or any(self.checkpoints.glob("step-*"))

    def lock(self) -> None:
        """Keep other processes from training here, until this one ends.

        :raises TrainingError: one does.
        :raises StorageError: the folder cannot be written.
        """
        if not self._is_writer:
            return
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=LOCK_WAIT_S)
            except Timeout as error:
                raise TrainingError(
                    f"another process is training in {self.path}; wait for it or stop it, or give "
                    "another `output`"
                ) from error

    def unlock(self) -> None:
        """Let others train here."""
        self._lock.release()

    def check(self) -> None:
        """Refuse a folder that holds another run.

        :raises ConfigError: a key differs from what the run began with; the message names it.
        """
        file = self.path / CONFIG
        if not self.is_begun or not file.is_file():
            return
        before = yaml.safe_load(file.read_text("utf-8"))
        changed = _differences(before, self._config.model_dump(mode="json"))
        for key, (old, new) in changed.items():
            if not f"{key}.".startswith(tuple(f"{each}." for each in HARMLESS)):
                raise ConfigError(
                    f"{self.path} holds a run with `{key}` {_shown(old)}, and now it is "
                    f"{_shown(new)}; set it back, or give another `output`"
                )

    def check_facts(self, datasets: list[str]) -> None:
        """Refuse to go on with other data than the run began with.

        :raises ConfigError: the versions of the datasets differ.
        """
        before = self.facts().get("datasets")
        if self.is_begun and before is not None and before != datasets:
            raise ConfigError(
                f"{self.path} holds a run on {', '.join(before)}, and the data is now "
                f"{', '.join(datasets)}; give another `output`"
            )

    def begin(self, datasets: list[str], **facts: object) -> dict[str, Any]:
        """Write the configuration and the facts of the run, the first time or again.

        :param datasets: versions, `NAME@HASH`.
        :return: what stands in `run.json`.
        :raises StorageError: the folder cannot be written.
        """
        content = {
            "objective": self._config.objective,
            "seed": self._config.seed,
            "datasets": datasets,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "commit": _own_commit(),
            "versions": {name: version(name) for name in LIBRARIES} | {"codeqa": version("codeqa")},
            "python": platform.python_version(),
            "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
        }
        if self._is_writer:
            with storage_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                if not self.is_begun:  # what is left of an attempt that learned nothing
                    (self.path / LOG).unlink(missing_ok=True)
                _write(self.path / CONFIG, self._config.to_yaml())
                _write(self.path / FACTS, json.dumps(content, indent=2) + "\n")
        return content

    def facts(self) -> dict[str, Any]:
        """What `run.json` holds; nothing where there is none."""
        try:
            content = json.loads((self.path / FACTS).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def log(self, step: int, fields: Mapping[str, object]) -> None:
        """Add a line to the log.

        :raises StorageError: the disk is full.
        """
        if not self._is_writer:
            return
        line = {"step": step, **fields, "time": round(time.time(), 3)}
        with storage_errors(self.path), (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read a run's log; a line that was cut off is left out."""
    lines = []
    for line in (folder / LOG).read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def _differences(before: object, now: object, place: str = "") -> dict[str, tuple[object, object]]:
    """The keys whose values differ, each by its path."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return {} if before == now else {place: (before, now)}
    found: dict[str, tuple[object, object]] = {}
    for key in {**before, **now}:
        path = f"{place}.{key}" if place else str(key)
        found |= _differences(before.get(key), now.get(key), path)
    return found


def _shown(value: object) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


def _write(file: Path, text: str) -> None:
    with whole_file(file) as draft:
        draft.write_text(text, "utf-8")


def _own_commit() -> str | None:
    """The commit of codeqa's own repository, where it runs from one."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    import git

    try:
        with open_git(root) as command:
            return str(command.rev_parse("HEAD"))
    except git.CommandError:
        return None
