"""Indexes hostile repositories, each in a fork, and says what it took.

Run as a program: reads one JSON object a line, `{"repository", "index", "time_s"}`, and answers
each with one line. What they share is imported once, so that a fork's peak memory is its own.
"""

import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from data_tools.errors import CodeQAError
from retrieval import CodeIndex
from tests.fakes import FakeEncoder

ADDRESS_SPACE_BYTES = 6_000_000_000  # a net for the machine; the test judges what was touched


@dataclass(frozen=True)
class Outcome:
    """What came of indexing a repository.

    :param error: what codeqa says of it where it is refused; "" where it is indexed.
    :param skipped: how many files were left out for what reason.
    :param peak_mb: memory of the process at its peak, and of the largest git beside it.
    :param killed: by which signal it ended, if it did.
    """

    error: str = ""
    files: int = 0
    skipped: dict[str, int] | None = None
    seconds: float = 0.0
    peak_mb: int = 0
    killed: str = ""


def index(repository: str, folder: str) -> Outcome:
    """Index a repository with everything but a real model."""
    started = time.monotonic()
    error, files, reasons = "", 0, Counter[str]()
    try:
        with CodeIndex.build([repository], folder, embedder=FakeEncoder()) as built:
            files = sum(record.files for record in built.manifest.repositories)
            reasons.update(file.reason for file in built.skipped())
    except CodeQAError as refused:
        error = str(refused)
    status = Path("/proc/self/status").read_text()
    own_kb = int(status.partition("VmHWM:")[2].split()[0])
    git_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    seconds = time.monotonic() - started
    return Outcome(error, files, dict(reasons.most_common(20)), seconds, (own_kb + git_kb) // 1000)


def attempt(repository: str, folder: str, time_s: float) -> Outcome:
    """Index in a fork that ends when its time is up."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
        signal.setitimer(signal.ITIMER_REAL, time_s)  # nobody handles it: the process ends
        try:
            said = json.dumps(asdict(index(repository, folder)))
        except BaseException as error:
            said = json.dumps({"killed": f"{type(error).__name__}: {error}"})
        with os.fdopen(writer, "w") as pipe:
            pipe.write(said)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (
        Outcome(**json.loads(said)) if status == 0 else Outcome(killed=signal.Signals(-status).name)
    )


if __name__ == "__main__":
    for line in sys.stdin:
        task = json.loads(line)
        outcome = attempt(task["repository"], task["index"], task["time_s"])
        print(json.dumps(asdict(outcome)), flush=True)
