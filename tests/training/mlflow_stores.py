"""MLflow stores for tests, without the seconds that making their tables takes each time."""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from data_tools.clone import cache_folder
from training.mlflow_store import DATABASE, open_client


@functools.cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="codeqa-mlflow-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_client(f"sqlite:///{folder / DATABASE}")
    return folder / DATABASE


def make_store(folder: Path | None = None) -> str:
    """Make an empty SQLite store, by default where codeqa's own is; return its address."""
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_template(), folder / DATABASE)
    return f"sqlite:///{folder / DATABASE}"


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run MLflow's own server, with a store in `folder`."""
    uri, port = make_store(folder), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--artifacts-destination", str(folder / "files"), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--workers", "1"]
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "server.log").open("wb") as log:
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{address}/health", timeout=5).close()
                    break
                time.sleep(0.1)
            yield address
        finally:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(20)
