"""Where runs and models are recorded: a local SQLite file, or any server of MLflow's.

The only module that imports MLflow. It keeps the library from reporting usage, from writing
`mlruns/` into the current folder and from waiting for minutes for a server that is not there.
"""

import contextlib
import hashlib
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from data_tools.clone import cache_folder
from data_tools.errors import TrackingError
from data_tools.storage import storage_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
LOCK_S = 60.0  # longest wait for another process that makes the tables
_SQLITE = "sqlite:///"
_SETTINGS = {  # of MLflow's; what the user has set stays
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",  # seconds, doubling
}


def default_uri() -> str:
    """The address of the local store: an SQLite file in codeqa's cache folder."""
    return f"{_SQLITE}{cache_folder().absolute() / DATABASE}"


def choose_uri(configured: str | None = None) -> str:
    """Choose where runs are recorded: what is configured, `MLFLOW_TRACKING_URI`, or here."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or default_uri()


def choose_registry() -> str:
    """Choose where models are registered: `MLFLOW_REGISTRY_URI`, or where runs are recorded.

    Databricks records runs in a workspace and registers models in Unity Catalog.
    """
    configured = os.environ.get("MLFLOW_REGISTRY_URI")
    return configured or re.sub(r"^databricks(?=$|:)", "databricks-uc", choose_uri())


def is_unity_catalog(uri: str) -> bool:
    """Tell whether models registered there have names of three levels."""
    return re.match(r"(databricks-uc|uc)(:|$)", uri) is not None


def local_folder(uri: str) -> Path | None:
    """The folder that an SQLite store lies in; None for a server."""
    return Path(uri.removeprefix(_SQLITE)).parent if uri.startswith(_SQLITE) else None


def without_password(text: str) -> str:
    """An address, or a text with addresses in it, as it may be shown."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def artifact_location(uri: str, experiment: str) -> str | None:
    """Where an experiment's files are kept: beside an SQLite store; None: where a server does."""
    folder = local_folder(uri)
    if folder is None:
        return None
    digest = hashlib.sha256(experiment.encode("utf-8")).hexdigest()[:8]
    readable = re.sub(r"[^\w.-]+", "-", experiment)[:60]
    return (folder.absolute() / ARTIFACTS / f"{readable}-{digest}").as_uri()


def open_client(uri: str) -> "MlflowClient":
    """Open a store of runs and models; a new SQLite file takes three seconds.

    A server is not asked anything yet.

    :raises StorageError: the SQLite file's folder cannot be written.
    :raises TrackingError: it cannot be opened.
    """
    prepare_environment()
    folder = local_folder(uri)
    with contextlib.ExitStack() as stack:
        stack.enter_context(tracking_errors(uri))
        if folder is not None:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                # Two processes that make the same tables at once would leave neither whole.
                stack.enter_context(FileLock(folder / f"{DATABASE}.lock", timeout=LOCK_S))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of SQLAlchemy's, about what MLflow calls
        from mlflow import MlflowClient

        runs_uri = uri
        if is_unity_catalog(uri):  # it holds no runs
            runs_uri = "databricks" if uri.startswith("databricks") else choose_uri()
        return MlflowClient(runs_uri, registry_uri=uri)


def prepare_environment() -> None:
    """Set what MLflow reads when it is imported, but what the user has set."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every table it makes


@contextlib.contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises into one line that names the fix, and holds no password.

    :raises TrackingError: in place of MLflow's and its database's errors.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise TrackingError(_explain(error, uri)) from error


def _explain(error: Exception, uri: str) -> str:
    reason = str(error)
    shown = without_password(uri)
    if "Max retries exceeded" in reason or "failed with exception" in reason:
        return f"the tracking server at {shown} does not answer; start it, or correct its address"
    if local_folder(uri) is not None and ("database" in reason or "schema" in reason):
        return f"{shown} cannot be used by MLflow ({_first_line(reason)}); move that file away"
    return f"MLflow at {shown} refuses: {_first_line(reason)}"


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:200]}…"
