"""What a job wants set up before its command: repositories, packages, where runs are recorded.

A repository is fetched as `codeqa index` fetches one, and its files are written from git's objects
at the pinned commit: no hook or filter of it runs. codeqa itself is not fetched: jobs that ask for
it get the code that is running.
"""

import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from data_tools.clone import open_remote
from data_tools.errors import ConfigError
from data_tools.git_commands import open_git
from training.job_schema import AnyJob, Integration

CODE = Path(__file__).parent.parent  # this very repository
CODE_NAME = "codeqa"  # what it is called on any host
# The variables of each recorder's own client, by the keys of its integration.
_VARIABLES = {
    "mlflow": {
        "experiment_name": "MLFLOW_EXPERIMENT_NAME",
        "tracking_uri": "MLFLOW_TRACKING_URI",
    },
    "wandb": {
        "project": "WANDB_PROJECT",
        "entity": "WANDB_ENTITY",
        "group": "WANDB_RUN_GROUP",
        "job_type": "WANDB_JOB_TYPE",
        "tags": "WANDB_TAGS",
    },
    "comet_ml": {"project": "COMET_PROJECT_NAME", "workspace": "COMET_WORKSPACE"},
}

Say = Callable[[str], None]


def environment_of(job: AnyJob) -> dict[str, str]:
    """Return the variables that integrations stand for: where runs are recorded."""
    variables = {}
    for integration in job.integrations:
        for key, variable in _VARIABLES.get(integration.integration_type, {}).items():
            value = getattr(integration, key)
            if value is not None:
                variables[variable] = ",".join(value) if isinstance(value, list) else value
    return variables


def clone_url(integration: Integration) -> str:
    """Return where a `git_repo` is cloned from; by ssh unless `ssh_clone` is false."""
    host = integration.host or "github.com"
    if integration.ssh_clone is False:
        return f"https://{host}/{integration.git_repo}.git"
    return f"git@{host}:{integration.git_repo}.git"


def is_this_code(integration: Integration) -> bool:
    """Tell whether a `git_repo` is codeqa, whoever's copy of it."""
    return (integration.git_repo or "").rpartition("/")[2] == CODE_NAME


def fetch_repositories(job: AnyJob, run_folder: Path, say: Say) -> None:
    """Put each `git_repo` into the folder that the command starts in.

    :raises ConfigError: its path leads out of that folder, or two share one.
    :raises SourceError: it cannot be cloned.
    """
    for integration in job.integrations:
        if integration.integration_type != "git_repo":
            continue
        path = integration.folder
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(f"`path: {path}` must lie in the job's folder for a run here")
        target = run_folder / path
        if target.exists():
            raise ConfigError(f"two integrations of {job.name} want the folder {path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_this_code(integration):
            target.symlink_to(CODE)
            continue
        url = clone_url(integration)
        say(f"cloning {url}")
        ref = integration.git_commit or integration.git_branch
        snapshot = open_remote(url, ref, name=target.name)
        _write_files(snapshot.git_folder, snapshot.repository.commit, target)


def _write_files(git_folder: Path, commit: str, target: Path) -> None:
    """Write a commit's files, from a clone without a work tree."""
    with tempfile.TemporaryFile() as archive:
        with open_git(git_folder) as command:
            command.archive(commit, "--format=tar", output_stream=archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as files:
            files.extractall(target, filter="data")


def install_packages(
    job: AnyJob, run_folder: Path, environment: dict[str, str], *, wanted: bool, say: Say
) -> None:
    """Install the packages a job asks for into a folder of the run, and put it on Python's path.

    :param environment: of the command; changed in place.
    :param wanted: without it, the packages are only named.
    :raises ConfigError: pip could not install them.
    """
    packages = run_folder / "packages"
    for integration in job.integrations:
        words, folder, name = _pip_words(integration, run_folder)
        if integration.integration_type == "apt_packages":
            say(f"apt packages are not installed here: {' '.join(integration.packages or ())}")
        elif words and not wanted:
            say(f"not installed here: {name}; `--integrations` puts it into a folder of this run")
        elif words:
            command = [sys.executable, "-m", "pip", "install", "--no-input", "--quiet"]
            say(f"installing {name}")
            done = subprocess.run(
                [*command, "--target", str(packages), *words], cwd=folder, env=environment
            )
            if done.returncode:
                raise ConfigError(
                    f"pip could not install {name}, as it says above; mend `integrations`, or "
                    "leave out `--integrations`"
                )
    if packages.exists():
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(packages), before]))


def _pip_words(integration: Integration, run_folder: Path) -> tuple[list[str], Path, str]:
    """Return the words for `pip install`, the folder to run it in, and what to call it."""
    if integration.integration_type == "pip_packages":
        upgrade = ["--upgrade"] if integration.upgrade else []
        packages = integration.packages or []
        return [*upgrade, *packages], run_folder, " ".join(packages)
    if integration.pip_install and not is_this_code(integration):
        words = [word for word in shlex.split(integration.pip_install) if word != "-e"]
        return words, run_folder / integration.folder, integration.git_repo or ""
    return [], run_folder, ""
