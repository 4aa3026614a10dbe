"""`codeqa runs`: training runs as MLflow's page, as a table, or sent to a server later."""

import argparse
import contextlib
import os
import subprocess
import sys
import time
import urllib.request
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands import count, print_json
from app.table import print_table
from data_tools.errors import TrackingError

if TYPE_CHECKING:
    from training.runs import RecordedRun

START_S = 60.0  # longest time until the page answers
_SHOWN = ("loss", "eval_loss", "tokens_per_s")  # metrics in the table
_SERVER = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a page to look at needs no job queue
    "PYTHONWARNINGS": "ignore",  # about what MLflow calls
}


def run_runs(options: argparse.Namespace) -> None:
    """Send a run, list runs, or serve the page until Ctrl-C."""
    if options.sync:
        from training.tracking import sync_run

        uri, lines = sync_run(Path(options.sync))
        print(f"{options.sync}: {count(lines, 'record')} sent to {uri}")
    elif options.list or options.json:
        from training.runs import list_runs

        _print(list_runs(), as_json=options.json)
    else:
        _serve(options.host, options.port, open_browser=not options.no_browser)


def _print(runs: "list[RecordedRun]", *, as_json: bool) -> None:
    if as_json:
        for run in runs:
            print_json(asdict(run))
        return
    if not runs:
        print("no runs yet: `codeqa train` records them")
        return
    rows = [["run", "experiment", "status", "started", "step", *_SHOWN, "folder"]]
    for run in runs:
        started = run.started[:16].replace("T", " ")
        metrics = [f"{run.metrics[name]:.4g}" if name in run.metrics else "" for name in _SHOWN]
        cells = [run.name, run.experiment, run.status.lower(), started, f"{run.step:,}", *metrics]
        rows.append([*cells, run.result or run.folder or ""])
    print_table(rows)


def _serve(host: str, port: int, *, open_browser: bool) -> None:
    from app.ports import check_port
    from training.mlflow_store import choose_uri, without_password
    from training.runs import page_command

    check_port(host, port)
    command = page_command(host, port)
    if command is None:
        print(f"runs are recorded at {without_password(choose_uri())}; open its page there")
        return
    with (
        contextlib.suppress(KeyboardInterrupt),
        subprocess.Popen(command, env=os.environ | _SERVER, stdout=subprocess.DEVNULL) as server,
    ):
        try:
            _wait(server, f"http://{host}:{port}/health")
            print(f"runs are shown at http://{host}:{port} (Ctrl-C stops it)", file=sys.stderr)
            if open_browser:
                webbrowser.open(f"http://{host}:{port}")
            server.wait()
        finally:
            server.terminate()


def _wait(server: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=5).close()
            return
        time.sleep(0.2)
    raise TrackingError("MLflow's page does not start; `codeqa runs --list` shows the runs here")
