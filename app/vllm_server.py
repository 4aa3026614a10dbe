"""A model server as a process that is kept alive: started, watched, started again, ended.

It is asked every second how it is. One that has ended, or says that its engine is dead, is started
again, each time after a longer wait; one that does not come back is given up. Whatever happens to
this process, the server's processes end with it (`app.guardian`).
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from app import guardian
from app.ports import ANY_HOSTS, address, check_port
from app.vllm_log import last_error, last_line, read_tail
from data_tools.errors import LanguageModelError
from data_tools.progress import Progress, ReportProgress
from data_tools.storage import storage_errors

MAX_RESTARTS = 5  # in a row; after a minute of health they are counted anew
FIRST_WAIT_S = 1.0  # before the first of them; doubled before each further one
READY_S = 1_200.0  # what a large model takes to load
SETTLED_S = 60.0
ILL_CHECKS = 3  # as many bad answers in a row are no accident
_HEALTH_TIMEOUT_S = 5.0  # a server that is busy answers late, and is well


@dataclass(frozen=True)
class ServerPlan:
    """What is started, and where it will answer.

    :param words: the command.
    :param log: what it prints; begun anew with each server, and gone on with when it restarts.
    """

    words: Sequence[str]
    environment: Mapping[str, str]
    host: str
    port: int
    log: Path


class VllmServer:
    """A server that runs while this context is entered; from then on it is watched."""

    def __init__(
        self,
        plan: ServerPlan,
        *,
        report: ReportProgress | None = None,
        first_wait_s: float = FIRST_WAIT_S,
        poll_s: float = 1.0,
        ready_s: float = READY_S,
    ) -> None:
        """Plan a server; nothing is started yet.

        :param report: told how the start goes (stage `serve`, seconds, the log's last words), and
            what happens later (`notice`).
        :param first_wait_s: before the first restart; doubled before each further one.
        :param poll_s: between two looks at it.
        :param ready_s: the longest start.
        """
        self.plan = plan
        self.restarts = 0
        self._report = report or (lambda progress: None)
        self._first_wait_s = first_wait_s
        self._poll_s = poll_s
        self._ready_s = ready_s
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._problem = ""
        self._log_start = 0  # where the log of the process that runs begins
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher = threading.Thread(target=self._watch, name="vllm", daemon=True)

    @property
    def url(self) -> str:
        """The base URL, for this machine."""
        return f"{address(self.plan.host, self.plan.port)}/v1"

    def __enter__(self) -> Self:
        """Start it, and wait until it answers.

        :raises LanguageModelError: it does not start; the message says why.
        :raises PortInUseError: the address is taken.
        :raises StorageError: the log cannot be written.
        """
        check_port(self.plan.host, self.plan.port)
        with storage_errors(self.plan.log.parent):
            self.plan.log.parent.mkdir(parents=True, exist_ok=True)
            self.plan.log.write_bytes(b"")
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all of its processes."""
        self._stopping.set()
        self._watcher.join()
        self._end()

    def wait(self) -> None:
        """Wait for as long as it runs or is started again.

        :raises LanguageModelError: it stopped, and does not come back.
        """
        while not self._ended.wait(1.0):  # in steps, so that Ctrl-C is heard
            pass
        raise LanguageModelError(self._problem)

    def _start(self) -> None:
        """Start it, and wait until it answers."""
        with self.plan.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", guardian.__file__, *self.plan.words],
                env=dict(self.plan.environment),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to hear
            )
        begun_s = time.monotonic()
        while self._ask_health() != 200:
            passed_s = time.monotonic() - begun_s
            if self._process.poll() is not None:
                raise LanguageModelError(f"vLLM does not start: {self._explain()}")
            if passed_s > self._ready_s:
                raise LanguageModelError(
                    f"vLLM was not ready after {passed_s:,.0f} s: see {self.plan.log}"
                )
            words = last_line(read_tail(self.plan.log, self._log_start))
            self._report(Progress("serve", int(passed_s), message=words))
            if self._stopping.wait(min(self._poll_s, 0.5)):
                raise LanguageModelError("vLLM was stopped before it was ready")

    def _watch(self) -> None:
        """Start it again whenever it has stopped, until that is of no use any more."""
        failures, well_since_s = 0, time.monotonic()
        while reason := self._wait_for_trouble():
            if time.monotonic() - well_since_s >= SETTLED_S:
                failures = 0
            while reason:
                self._end()
                if failures == MAX_RESTARTS:
                    self._give_up(reason)
                    return
                wait_s = self._first_wait_s * 2**failures
                failures += 1
                self._tell(
                    f"vLLM stopped; try {failures} of {MAX_RESTARTS} to start it again begins in "
                    f"{wait_s:g} s: {reason}"
                )
                if self._stopping.wait(wait_s):
                    return
                reason = self._start_again()
            well_since_s = time.monotonic()

    def _start_again(self) -> str:
        """Start it once more; return "" if it answers or is not wanted any more, else why not."""
        try:
            self._start()
        except (LanguageModelError, OSError) as error:
            return "" if self._stopping.is_set() else str(error)
        self.restarts += 1
        self._tell(f"vLLM answers again at {self.url}")
        return ""

    def _give_up(self, reason: str) -> None:
        self._problem = f"vLLM stopped and does not come back: {reason}"
        self._tell(self._problem)
        self._ended.set()

    def _wait_for_trouble(self) -> str:
        """Wait until it has stopped or says that it is dead; return why, or "" when we stop it."""
        ill = 0
        while not self._stopping.wait(self._poll_s):
            if self._process is None or self._process.poll() is not None:
                return self._explain()
            status = self._ask_health()
            ill = ill + 1 if status is not None and status >= 500 else 0
            if ill == ILL_CHECKS:
                return self._explain()
        return ""

    def _end(self) -> None:
        """End all of its processes."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()  # which asks the guardian to end the rest
        with suppress(subprocess.TimeoutExpired):
            process.wait(guardian.GRACE_S + 5)
        with suppress(ProcessLookupError):  # what the guardian, if it was killed, could not end
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _ask_health(self) -> int | None:
        """Return the HTTP status of `/health`; None where nothing answers."""
        host = "127.0.0.1" if self.plan.host in ANY_HOSTS else self.plan.host
        connection = HTTPConnection(host, self.plan.port, timeout=_HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def _explain(self) -> str:
        """Say why it stopped, as far as its log tells."""
        cause = last_error(read_tail(self.plan.log, self._log_start))
        see = f"see {self.plan.log}"
        return f"{cause}: {see}" if cause else see

    def _tell(self, message: str) -> None:
        self._report(Progress("notice", message=message))
