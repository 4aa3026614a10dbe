"""Conversion on Apache Spark, for corpora that outgrow one machine: the local engine's samples.

Each part is a task of its own, so the samples do not depend on how many machines there are. Workers
read documents by their paths and write shards to the output, which every machine of a cluster must
see, with the same Python environment. Spark itself runs in a process of its own,
`data_tools.spark_program`; what it says is shown only if it fails.
"""

import contextlib
import errno
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from data_tools import errors, spark_program
from data_tools.errors import CodeQAError, DatasetError
from data_tools.mds import ShardSettings
from data_tools.progress import Progress, ReportProgress
from data_tools.spark_program import LOOPBACK, Job, SplitJob, is_local
from data_tools.spark_worker import DONE, write_part
from data_tools.storage import disk_full, storage_errors
from data_tools.windows import Part, WindowSettings

POLL_S = 0.5
STOP_S = 20.0  # for Spark to end when asked to, before it is made to

# An error of ours as Spark quotes it from a worker, with its one-line message; else what it says
# first. That a task failed, and that a trace follows, tells nothing.
_OURS = re.compile(rf"{re.escape(errors.__name__)}\.(\w+): (.+)")
_CAUSE = re.compile(
    r"ERROR (?!Executor)\w+: (?P<log>.+)|(?P<raised>\b\w*(?:Error|Exception): (?!Traceback)\S.*)"
)


def missing_for_spark() -> str | None:
    """Say what Spark needs and is not here, and how to install it; None if it can run."""
    missing = []
    if importlib.util.find_spec("pyspark") is None:
        missing.append("pyspark (`pip install -r requirements-spark.txt`)")
    home = os.environ.get("JAVA_HOME")
    if not shutil.which("java", path=f"{home}/bin" if home else None):
        missing.append("a Java runtime, 17 or newer (Debian's openjdk-17-jre-headless)")
    return " and ".join(missing) or None


def check_spark() -> None:
    """Refuse a machine that Spark cannot run on.

    :raises DatasetError: pyspark or Java is missing.
    """
    if missing := missing_for_spark():
        raise DatasetError(f"Spark needs {missing}; install what is missing, or use --engine local")


def write_splits_with_spark(
    splits: Mapping[str, Sequence[Part]],
    folder: Path,
    tokenizer: str,
    windows: WindowSettings,
    shards: ShardSettings,
    *,
    master: str,
    report: ReportProgress | None = None,
) -> None:
    """Write `folder/SPLIT/`, shards and `index.json`, for each split that has parts.

    :param folder: that every machine of a cluster sees; a split's own must not be there yet.
    :param tokenizer: for `data_tools.tokenizer.load_tokenizer`, in each worker.
    :param master: URL of a Spark master; `local[N]` is N cores of this machine, `*` all.
    :raises DatasetError: Spark cannot run here, cannot reach `master`, or fails; or a document
        cannot be read.
    :raises StorageError: a disk is full or not writable.
    """
    check_spark()
    folder = folder.absolute()
    work = folder / ".spark"
    with (
        storage_errors(folder),
        tempfile.TemporaryDirectory(prefix="codeqa-spark-", ignore_cleanup_errors=True) as scratch,
    ):
        try:
            jobs = [_write_parts(parts, folder / name, work) for name, parts in splits.items()]
            if Path(tokenizer).expanduser().is_dir():
                tokenizer = str(Path(tokenizer).expanduser().absolute())
            job = Job(
                master, scratch, tokenizer, asdict(windows), shards.writer_options(), tuple(jobs)
            )
            job.write(work / "job.json")
            _run(job, work / "job.json", report)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _write_parts(parts: Sequence[Part], folder: Path, work: Path) -> SplitJob:
    described = work / folder.name
    described.mkdir(parents=True)
    for part in parts:
        write_part(part, described)
    return SplitJob(str(described), len(parts), str(folder))


def _run(job: Job, file: Path, report: ReportProgress | None) -> None:
    """Run the program to its end, and see that nothing of it is left, whatever happens here."""
    log = Path(job.scratch) / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", spark_program.__name__, str(file)],
            stdin=subprocess.PIPE,  # it ends when this does
            stdout=output,
            stderr=output,
            env=_environment(job.master),
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        try:
            while process.poll() is None:
                if report:
                    report(_progress(job))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
        finally:
            _end(process)
    if process.returncode:
        raise _failure(log.read_text("utf-8", errors="replace"), job)
    if report:
        report(_progress(job))


def _environment(master: str) -> dict[str, str]:
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    changes = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"}
    changes["PYSPARK_PYTHON"] = os.environ.get("PYSPARK_PYTHON", sys.executable)
    if is_local(master):
        changes["SPARK_LOCAL_IP"] = LOOPBACK
    return os.environ | changes


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the program's whole group, its Java machine among them."""
    if process.stdin:
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _progress(job: Job) -> Progress:
    done = sum(1 for split in job.splits for _ in Path(split.parts).glob(f"*{DONE}"))
    return Progress("spark", done, sum(split.count for split in job.splits))


def _failure(said: str, job: Job) -> CodeQAError:
    """Say in one line why Spark failed."""
    if ours := _OURS.search(said):
        kind: type[CodeQAError] = getattr(errors, ours[1])
        return kind(ours[2])
    if os.strerror(errno.ENOSPC) in said:
        return disk_full(Path(job.splits[0].folder))
    cause = _CAUSE.search(said)
    reason = (cause["log"] or cause["raised"]) if cause else "it did not say why"
    return DatasetError(
        f"Spark failed ({reason.strip()}); check --master {job.master}, that Java is 17 or newer, "
        "and that every machine sees the corpus, the output and this Python environment"
    )
