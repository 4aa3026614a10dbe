"""Runs of a tiny model for tests: their configuration, here or as real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml

from training.config import TrainConfig

ARCHITECTURE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "layers": 2,
    "heads": 2,
    "key_value_heads": 1,
}


def pretrain_config(output: Path, tokenizer: Path, *streams: Path, **keys: Any) -> TrainConfig:
    """A run of a new tiny model; `keys` replace whole top-level keys."""
    content = {
        "objective": "pretrain",
        "output": str(output),
        "model": {"architecture": ARCHITECTURE, "tokenizer": str(tokenizer)},
        "data": {"streams": [{"dataset": str(stream)} for stream in streams]},
        "duration": "10ba",
        "batch": {"size": 8},
        "precision": "fp32",
        "evaluation": {"interval": "1dur"},
        "checkpoint": {"interval": "3ba"},
        "tracking": {"to": []},
    }
    return TrainConfig.model_validate(content | keys)


def losses(folder: Path) -> dict[int, float]:
    """The loss of each step in a run's log; the last one where a step was taken twice."""
    return {int(line["step"]): line["loss"] for line in log(folder) if "loss" in line}


def batches(folder: Path) -> dict[int, str]:
    """The digest of each step's batch."""
    return {int(line["step"]): line["batch"] for line in log(folder) if "batch" in line}


def log(folder: Path) -> list[dict[str, Any]]:
    """A run's log, without a line that is being written."""
    file = folder / "log.jsonl"
    text = file.read_text("utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@contextmanager
def start(
    config: TrainConfig, file: Path, *, workers: int = 1
) -> "Iterator[subprocess.Popen[str]]":
    """Start `codeqa train` as a user does; whatever is left of it is killed at the end."""
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), "utf-8")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "LOCAL_RANK"},
        "NUM_GPU_WORKERS": str(workers),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": str(torch.get_num_threads() if workers == 1 else 1),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "train", "-f", str(file)],
        env=environment,
        cwd=Path(__file__).parent.parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        _end(process)


def run_command(config: TrainConfig, file: Path, *, workers: int = 1) -> tuple[int, str]:
    """Run `codeqa train` to its end; return its exit code and what it printed."""
    with start(config, file, workers=workers) as process:
        output, _ = process.communicate(timeout=240)
        return process.returncode, output


def wait_for_step(process: "subprocess.Popen[str]", folder: Path, step: int) -> None:
    """Wait until a run has taken a step."""
    while max(losses(folder), default=0) < step:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a run and all its processes, without a warning."""
    family = psutil.Process(process.pid)
    for each in [*family.children(recursive=True), family]:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    process.wait()


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        kill(process)
    if process.stdout:
        process.stdout.close()
