"""The index that the app answers from, while it may still be in the making.

The page opens at once; cloning, reading and embedding go on in a thread, one job after another:
repositories are added, brought up to date, removed. Words can be searched seconds later, meaning
once the vectors are there. A job that fails or is cancelled leaves the old index in use.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from data_tools.errors import BusyError, CodeQAError, IndexMissingError, SourceError
from data_tools.progress import Progress
from data_tools.sources import check_server, is_remote, plain_location, split_spec
from retrieval.build import BuildReport, choose_embedder
from retrieval.embed import Embedder
from retrieval.generations import RepositoryRecord
from retrieval.index import CodeIndex, index_repositories

MAX_JOBS = 16  # that go on or wait
JOB_RETRY_S = 30

Ready = Literal["nothing", "words", "everything"]
Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Job:
    """What is to be done to the index.

    :param what: in words, such as `Adding https://…`, without credentials.
    :param specs: repositories to read; none brings all of the index up to date. They may hold
        credentials, so they are not shown.
    :param remove: names of repositories to take out.
    """

    what: str
    specs: tuple[str, ...] = field(default=(), repr=False)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobReport:
    """What came of a job.

    :param problem: why it failed, in one line that names the fix; None if it did not.
    :param records: of the repositories that are new, or not as they were before.
    :param embedded: passages whose text had to be embedded.
    :param changed: whether the index is another one now.
    """

    job: Job
    seconds: float
    problem: str | None = None
    records: tuple[RepositoryRecord, ...] = ()
    embedded: int = 0
    changed: bool = False


@dataclass(frozen=True)
class Status:
    """How far the index is.

    :param ready: what can be searched now.
    :param building: whether a job is going on.
    :param progress: its last step.
    :param error: why the last job failed, in one line that names the fix.
    """

    ready: Ready
    building: bool
    progress: Progress | None = None
    error: str | None = None


class Workspace:
    """An index folder, the jobs that change it, and the index to search now."""

    def __init__(
        self, folder: Path, specs: Sequence[str] = (), embedder: Embedder | str | None = None
    ) -> None:
        """Open what is in `folder`, if anything.

        :param specs: repositories to index when `start` is called.
        :param embedder: as `CodeIndex.build` takes it.
        :raises CodeQAError: there is an index, it cannot be read, and `specs` is empty.
        """
        self.folder = folder
        self._specs = tuple(specs)
        self._embedder = embedder
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._index: CodeIndex | None = None
        self._status = Status("nothing", building=False)
        self._jobs: deque[tuple[Job, Watch | None]] = deque()
        self._working: Job | None = None
        self._busy = False  # a thread is at work
        self._thread: threading.Thread | None = None
        self._cancelled = False
        self._report: JobReport | None = None
        try:
            self._open()
        except IndexMissingError:
            pass
        except CodeQAError:
            if not specs:
                raise

    def start(self, watch: Watch | None = None) -> None:
        """Build in the background, or load the model of the index that is there.

        :param watch: also called with every step, such as a progress bar on the terminal.
        """
        if self._specs:
            self._begin(Job("Indexing", self._specs), watch)
        else:
            self._run(self._warm_up)

    def add(self, spec: str, *, remote_only: bool = False) -> None:
        """Add a repository, a folder or a documentation site, or bring it up to date.

        :param remote_only: refuse what lies on this machine.
        :raises SourceError: it is no repository's address, lies on this machine, or on a server
            that may not be spoken to.
        """
        location, ref = split_spec(spec)
        if remote_only and (not is_remote(location) or location.startswith("file:")):
            raise SourceError(
                "folders of the server cannot be added from another machine: give the URL of a "
                "git repository or of a documentation site"
            )
        check_server(location)
        shown = plain_location(location) + (f"@{ref}" if ref else "")
        self._begin(Job(f"Adding {shown}", (spec.strip(),)))

    def update(self, name: str | None = None) -> None:
        """Bring a repository up to date, or all of them.

        :raises SourceError: the index holds none of that name.
        :raises BusyError: too many changes wait already.
        """
        job = Job("Updating all repositories")
        if name is not None:
            job = Job(f"Updating {name}", (self._record(name).spec,))
        self._begin(job)

    def remove(self, name: str) -> None:
        """Take a repository out of the index.

        :raises SourceError: the index holds none of that name, or nothing else.
        :raises BusyError: too many changes wait already.
        """
        self._record(name)
        index = self.index()
        if index and len(index.manifest.repositories) == 1:
            raise SourceError(f"{name} is the only repository: add another one first")
        self._begin(Job(f"Removing {name}", remove=(name,)))

    def cancel(self) -> None:
        """Stop the job that is going on at its next step; the index stays as it was."""
        with self._lock:
            self._cancelled = self._working is not None

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until nothing is left to do."""
        with self._idle:
            self._idle.wait_for(lambda: not self._busy, timeout_s)
            thread = self._thread
        if thread:
            thread.join(timeout_s)

    @property
    def status(self) -> Status:
        """How far the index is, now."""
        with self._lock:
            return self._status

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The job that is going on, and those that wait for it."""
        with self._lock:
            now = (self._working,) if self._working else ()
            return (*now, *(job for job, _ in self._jobs))

    @property
    def report(self) -> JobReport | None:
        """What came of the last job; None before there was one."""
        with self._lock:
            return self._report

    def index(self) -> CodeIndex | None:
        """Return the index to search now; None while there is none."""
        with self._lock:
            return self._index

    def _record(self, name: str) -> RepositoryRecord:
        index = self.index()
        try:
            if index is not None:
                return index.repository(name)
        except KeyError:
            pass
        raise SourceError(f"the index holds no repository {name!r}")

    def _begin(self, job: Job, watch: Watch | None = None) -> None:
        """Put a job at the end of the line; a thread works while there are any.

        :raises BusyError: the line is too long; a job that is in it already is no other.
        """
        with self._lock:
            if job in self.jobs:
                return
            if len(self.jobs) >= MAX_JOBS:
                raise BusyError(
                    f"{MAX_JOBS} changes to the repositories wait already: ask again in "
                    f"{JOB_RETRY_S} s",
                    retry_after_s=JOB_RETRY_S,
                )
            self._jobs.append((job, watch))
            self._status = replace(self._status, building=True, error=None)
            if not self._busy:
                self._busy = True
                self._run(self._work)

    def _run(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name="index", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        """Do the jobs that are waiting; then load the model, so that no one waits."""
        try:
            while self._next():
                self._warm_up()
        finally:
            self._rest()

    def _next(self) -> bool:
        with self._lock:
            if not self._jobs:
                self._rest()  # before the lock is let go: the next job starts a thread of its own
                return False
            self._working, watch = self._jobs.popleft()
            self._cancelled = False
            job = self._working
        try:
            self._do(job, watch)
        finally:
            with self._lock:
                self._working = None
        return True

    def _rest(self) -> None:
        with self._idle:
            self._busy = False
            self._idle.notify_all()

    def _warm_up(self) -> None:
        index = self.index()
        if index is not None and index.vectors_ready:
            with contextlib.suppress(CodeQAError):  # the first question will say it
                index.embedder.embed(["warm up"])

    def _do(self, job: Job, watch: Watch | None) -> None:
        def report(progress: Progress) -> None:
            if self._cancelled:
                raise _CancelledError
            if progress.stage == "lexical-ready":
                self._open()
            with self._lock:
                self._status = replace(self._status, progress=progress)
            if watch:
                watch(progress)

        begun = time.monotonic()
        index = self.index()
        before = index.manifest.repositories if index else ()
        done = JobReport(job, 0.0, "indexing stopped; look at the terminal")
        try:
            self._embedder = choose_embedder(self.folder, self._embedder)
            built = index_repositories(
                job.specs, self.folder, embedder=self._embedder, report=report, remove=job.remove
            )
            self._open()
            done = _describe(job, built, before)
        except _CancelledError:
            done = replace(done, problem=f"{job.what} was cancelled; the index is as it was")
        except CodeQAError as problem:
            done = replace(done, problem=str(problem))
        except Exception as problem:  # a bug must not leave the page waiting for ever
            done = replace(done, problem=f"indexing failed: {type(problem).__name__}: {problem}")
            raise
        finally:
            with self._lock:
                self._report = replace(done, seconds=time.monotonic() - begun)
                more = bool(self._jobs)
                error = None if self._cancelled else done.problem
                self._status = Status(self._status.ready, building=more, error=error)

    def _open(self) -> None:
        index = self._index
        if index is None:
            model = None if isinstance(self._embedder, str) else self._embedder
            index = CodeIndex.open(self.folder, embedder=model)
        else:
            index = index.newest()  # answers on their way go on with the one they began with
        with self._lock:
            self._index = index
            ready: Ready = "everything" if index.vectors_ready else "words"
            self._status = replace(self._status, ready=ready)


class _CancelledError(Exception):
    """The job is not wanted any more."""


def _describe(job: Job, built: BuildReport, before: Sequence[RepositoryRecord]) -> JobReport:
    records = tuple(record for record in built.manifest.repositories if record not in before)
    return JobReport(job, 0.0, records=records, embedded=built.embedded, changed=built.changed)
