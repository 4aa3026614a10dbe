"""Comet and Weights & Biases, through transformers' own callbacks, so that neither stops a run."""

import importlib.util
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from data_tools.errors import ConfigError
from data_tools.progress import Progress, ReportProgress
from data_tools.storage import storage_errors

RUN_KEY = "run_key"  # in the run's folder: the name it has at these services
_PACKAGES = {"wandb": "wandb", "comet_ml": "comet-ml"}  # module → what pip calls it


def open_service(
    service: str, *, experiment: str, folder: Path, report: ReportProgress
) -> TrainerCallback:
    """Open `wandb` or `comet_ml`; a run that goes on there does so under the same key.

    Keys and servers come from the services' own environment variables.

    :raises ConfigError: its package is not installed.
    """
    package = _PACKAGES[service]
    if importlib.util.find_spec(service) is None:
        raise ConfigError(
            f"`tracking.to: {service}` needs a package that is not installed: run "
            f"`pip install {package}`, or take it out of `tracking.to`"
        )
    key = _run_key(folder)
    settings = {
        "WANDB_PROJECT": experiment,
        "WANDB_DIR": str(folder),
        "WANDB_RUN_ID": key,
        "WANDB_RESUME": "allow",
        "COMET_PROJECT_NAME": experiment,
        "COMET_EXPERIMENT_KEY": key,
    }
    for name, value in settings.items():
        if name.startswith(service.partition("_")[0].upper()):
            os.environ.setdefault(name, value)
    from transformers.integrations import integration_utils

    kinds = {"wandb": "WandbCallback", "comet_ml": "CometCallback"}
    try:
        callback = getattr(integration_utils, kinds[service])()
    except Exception as error:  # the boundary: a package that is there but cannot be imported
        raise ConfigError(
            f"{package} cannot be used ({error}): install it anew, or take {service} out of "
            "`tracking.to`"
        ) from error
    return GuardedCallback(callback, service, report)


class GuardedCallback(TrainerCallback):
    """Another callback, none of whose failures stops the run; after the first it is left out."""

    def __init__(self, inner: TrainerCallback, service: str, report: ReportProgress) -> None:
        self._service = service
        self._report = report
        self._failed = False
        for name in dir(TrainerCallback):
            if name.startswith("on_"):
                setattr(self, name, self._guard(getattr(inner, name)))

    def _guard(self, event: Callable[..., object]) -> Callable[..., None]:
        def call(*arguments: Any, **named: Any) -> None:
            if self._failed:
                return
            try:
                event(*arguments, **named)
            except Exception as error:  # the boundary: a client's errors, and its network's
                self._failed = True
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                message = f"{self._service} does not record this run, which goes on: {reason}"
                self._report(Progress("notice", message=message))

        return call


def _run_key(folder: Path) -> str:
    """A name for the run that stays when it goes on: 32 hex digits."""
    file = folder / RUN_KEY
    with storage_errors(folder):
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(uuid.uuid4().hex, "ascii")
        return file.read_text("ascii").strip()
