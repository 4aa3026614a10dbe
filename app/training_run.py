"""`codeqa train`: a run from its YAML file, here or over several processes."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands import print_json
from data_tools.errors import CodeQAError

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.train import TrainReport


def run_train(options: argparse.Namespace) -> None:
    """Train, and print where the model is and what was measured."""
    from training.config import load_config

    config = load_config(Path(options.file), options.overrides)
    if options.dry_run:
        print(config.to_yaml(), end="")
        return
    from training.launch import (
        STOPPED,
        count_workers,
        find_machines,
        is_launched,
        launch,
        prepare_single,
        share_cores,
    )

    share_cores()
    if is_launched():
        _train_together(config, options.json)
        return
    workers, machines = count_workers(), find_machines()
    if workers * machines.count > 1:
        command = ["train", "-f", options.file, *options.overrides]
        code = launch([*command, *(["--json"] if options.json else [])], workers, machines)
        if code == STOPPED:
            sys.exit(STOPPED)
        return
    prepare_single()
    _finish(_train(config), options.json)


def _train(config: "TrainConfig") -> "TrainReport":
    from app.progress import ProgressBar
    from training.train import train

    with ProgressBar() as bar:
        return train(config, bar)


def _train_together(config: "TrainConfig", as_json: bool) -> None:
    """Train as one of several processes; the first one prints."""
    import os

    from training.launch import STOPPED, end_with_parent, leave_error

    end_with_parent()
    try:
        report = _train(config)
    except CodeQAError as error:
        leave_error(error)
        return
    if os.environ.get("RANK") == "0":
        _finish(report, as_json)
    elif report.status == "stopped":
        sys.exit(STOPPED)


def _finish(report: "TrainReport", as_json: bool) -> None:
    from training.launch import STOPPED

    if as_json:
        facts = {
            "folder": str(report.folder),
            "status": report.status,
            "steps": report.steps,
            "first": report.first,
            "last": report.last,
        }
        print_json(facts)
    else:
        _print(report)
    sys.stdout.flush()
    if report.status == "stopped":
        sys.exit(STOPPED)


def _print(report: "TrainReport") -> None:
    if report.status == "stopped":
        print(
            f"{report.folder}: stopped and saved after step {report.steps:,}; "
            "the same command goes on"
        )
        return
    for name, value in report.last.items():
        before = f" (before: {report.first[name]:.4f})" if name in report.first else ""
        print(f"{name.removeprefix('eval_').replace('_', ' ')}: {value:.4f}{before}")
    done = "was finished before" if report.status == "already finished" else "written"
    print(f"{report.folder}: {done}, {report.steps:,} steps; `codeqa export` packs it")
