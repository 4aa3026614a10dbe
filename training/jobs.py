"""Run a job here: what `mcli run -f FILE` does on MosaicML's platform, on this machine.

The command is given what the platform would give it: the parameters in a file that `$PARAMETERS`
names, its variables, its repositories in the folder it starts in, another try when it fails. Its
exit code is the job's. A job that is stopped takes all its processes with it.

No container is made, and nothing is installed into the environment codeqa runs from: packages
that a job asks for are left out, or put into a folder of the run if the user says so.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from data_tools.errors import ConfigError
from data_tools.progress import Progress, ReportProgress
from data_tools.storage import storage_errors
from training.config import TrainConfig
from training.job_integrations import (
    Say,
    environment_of,
    fetch_repositories,
    install_packages,
)
from training.job_schema import AnyJob, Job, Scheduling, to_yaml
from training.strict import validate

FIRST_WAIT_S = 1.0  # before the second try; doubled before each further one
LONGEST_WAIT_S = 60.0
GRACE_S = 60.0  # what a stopped command has to save its checkpoint
TIMED_OUT = 124  # exit code, as of coreutils' `timeout`
TERMINATED = 128 + signal.SIGTERM  # exit code
# Wrong usage, what cannot be run, what is not there, out of time: the same once more.
_HOPELESS = (2, 126, 127, TIMED_OUT)
_POLL_S = 0.05
# Where a command trains with its parameters, or with the part of them after `#`.
_TRAINS = re.compile(r"\bcodeqa train .*?\$\{?PARAMETERS\}?(?:#(\w+))?")


@dataclass(frozen=True)
class JobReport:
    """What came of a job.

    :param exit_code: of its last try.
    :param tries: how often its command was started.
    :param seconds: from the start of the first to the end of the last.
    """

    name: str
    exit_code: int
    tries: int
    seconds: float


def check_training(job: AnyJob, source: str) -> None:
    """Check the parameters of every training that the command starts, before hours of work.

    :param source: what to call the job in an error: its file's name.
    :raises ConfigError: one of them is not as it must be; the message says where.
    """
    parameters = job.parameters if isinstance(job, Job) else {}
    for part in _TRAINS.findall(job.command):
        content = parameters.get(part) if part else parameters
        if not isinstance(content, dict):
            raise ConfigError(f"{source}: `codeqa train` reads `parameters.{part}`; it is missing")
        validate(TrainConfig, content, f"{source}, parameters{f'.{part}' if part else ''}")


def run_job(
    job: AnyJob,
    folder: Path,
    *,
    install: bool = False,
    first_wait_s: float = FIRST_WAIT_S,
    report: ReportProgress | None = None,
) -> JobReport:
    """Run a job's command to its end on this machine.

    :param folder: what the command finds in `$CODEQA_WORK`; the jobs that ship keep results there.
    :param install: install the packages that the job asks for, into a folder of this run.
    :raises ConfigError: an integration cannot be had here.
    :raises SourceError: a repository cannot be cloned.
    :raises StorageError: the disk is full or not writable.
    """
    say = _sayer(report)
    scheduling = job.scheduling if isinstance(job, Job) else Scheduling()
    with tempfile.TemporaryDirectory(prefix=f"codeqa-{job.name}-") as name, storage_errors(folder):
        run_folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        environment = _environment(job, run_folder, folder.resolve())
        fetch_repositories(job, run_folder, say)
        install_packages(job, run_folder, environment, wanted=install, say=say)
        return _run_to_the_end(job, scheduling, run_folder, environment, first_wait_s, say)


def _sayer(report: ReportProgress | None) -> Say:
    def say(message: str) -> None:
        if report:
            report(Progress("notice", message=message))

    return say


def _environment(job: AnyJob, run_folder: Path, folder: Path) -> dict[str, str]:
    """Make the variables the command sees: ours, the platform's, the job's."""
    parameters = run_folder / "parameters.yaml"
    with os.fdopen(os.open(parameters, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(to_yaml(job.parameters if isinstance(job, Job) else {}))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {
        **os.environ,
        "PATH": path,
        "CODEQA_WORK": str(folder),
        "PARAMETERS": str(parameters),
        "RUN_NAME": job.name,
        **environment_of(job),
        **job.env_variables,
    }


def _run_to_the_end(
    job: AnyJob,
    scheduling: Scheduling,
    run_folder: Path,
    environment: dict[str, str],
    first_wait_s: float,
    say: Say,
) -> JobReport:
    start = time.monotonic()
    hours = scheduling.max_duration
    deadline = start + hours * 3_600 if hours else None
    retries = scheduling.max_retries or 0
    for index in range(retries + 1):
        tried = {**environment, "RESUMPTION_INDEX": str(index)}
        code = _run_once(job.command, run_folder, tried, deadline)
        if code == TIMED_OUT and hours and deadline and time.monotonic() >= deadline:
            say(f"{job.name} was stopped after {hours:g} hours, its `scheduling.max_duration`")
        if code == 0 or code in _HOPELESS or index == retries:
            break
        wait_s = min(first_wait_s * 2**index, LONGEST_WAIT_S)
        say(
            f"{job.name} ended with exit code {code}; try {index + 2} of {retries + 1} "
            f"begins in {wait_s:g} s"
        )
        time.sleep(wait_s)
    return JobReport(job.name, code, index + 1, time.monotonic() - start)


def _run_once(
    command: str, run_folder: Path, environment: dict[str, str], deadline: float | None
) -> int:
    """Run the command once; however this ends, none of its processes is left."""
    words = ["bash", "-euo", "pipefail", "-c", command]
    try:
        with _terminated_as_exit():
            process = subprocess.Popen(
                words,
                cwd=run_folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            grace_s = 5.0  # for what a command that has ended left behind
            try:
                code = process.wait(None if deadline is None else deadline - time.monotonic())
            except subprocess.TimeoutExpired:
                code, grace_s = TIMED_OUT, GRACE_S
            except BaseException:
                grace_s = GRACE_S
                raise
            finally:
                _end_group(process, grace_s)
    except FileNotFoundError as error:
        raise ConfigError("jobs are run by bash, which is not installed; install it") from error
    return code if code >= 0 else 128 - code  # of a signal, as shells say it


def _end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End every process of the command: politely, and at last not."""
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            process.poll()  # takes away the entry of the process that has ended
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(_POLL_S)


@contextlib.contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that the command is ended too.

    :raises SystemExit: the signal came.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
