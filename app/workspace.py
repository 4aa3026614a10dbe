"""The index that the app answers from, while it may still be in the making.

The page opens at once; cloning, reading and embedding go on in a thread. Words can be searched
seconds later, meaning once the vectors are there. A failed build leaves the old index in use.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from data_tools.errors import CodeQAError, IndexMissingError
from data_tools.progress import Progress
from retrieval.build import choose_embedder
from retrieval.embed import Embedder
from retrieval.index import CodeIndex, index_repositories

Ready = Literal["nothing", "words", "everything"]


@dataclass(frozen=True)
class Status:
    """How far the index is.

    :param ready: what can be searched now.
    :param building: whether a build is going on.
    :param progress: its last step.
    :param error: why the last build failed, in one line that names the fix.
    """

    ready: Ready
    building: bool
    progress: Progress | None = None
    error: str | None = None


class Workspace:
    """An index folder, the build that may be filling it, and the index to search now."""

    def __init__(
        self, folder: Path, specs: Sequence[str] = (), embedder: Embedder | str | None = None
    ) -> None:
        """Open what is in `folder`, if anything.

        :param specs: repositories to index when `start` is called.
        :param embedder: as `CodeIndex.build` takes it.
        :raises CodeQAError: there is an index, it cannot be read, and `specs` is empty.
        """
        self.folder = folder
        self._specs = list(specs)
        self._embedder = embedder
        self._lock = threading.Lock()
        self._index: CodeIndex | None = None
        self._status = Status("nothing", building=False)
        self._thread: threading.Thread | None = None
        try:
            self._open()
        except IndexMissingError:
            pass
        except CodeQAError:
            if not specs:
                raise

    def start(self, watch: Callable[[Progress], None] | None = None) -> None:
        """Build in the background, or load the model of the index that is there.

        :param watch: also called with every step, such as a progress bar on the terminal.
        """
        if self._specs:
            with self._lock:
                self._status = replace(self._status, building=True, error=None)
        self._thread = threading.Thread(target=self._work, args=(watch,), name="index", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the build to end."""
        if self._thread:
            self._thread.join(timeout_s)

    @property
    def status(self) -> Status:
        """How far the index is, now."""
        with self._lock:
            return self._status

    def index(self) -> CodeIndex | None:
        """Return the index to search now; None while there is none."""
        with self._lock:
            return self._index

    def _work(self, watch: Callable[[Progress], None] | None) -> None:
        """Build, if there is anything to build; then load the model, so that no one waits."""
        if self._specs:
            self._build(watch)
        index = self.index()
        if index is not None and index.vectors_ready:
            with contextlib.suppress(CodeQAError):  # the first question will say it
                index.embedder.embed(["warm up"])

    def _build(self, watch: Callable[[Progress], None] | None) -> None:
        def report(progress: Progress) -> None:
            if progress.stage == "lexical-ready":
                self._open()
            with self._lock:
                self._status = replace(self._status, progress=progress)
            if watch:
                watch(progress)

        error: str | None = "indexing stopped; look at the terminal"
        try:
            self._embedder = choose_embedder(self.folder, self._embedder)
            index_repositories(self._specs, self.folder, embedder=self._embedder, report=report)
            self._open()
            error = None
        except CodeQAError as problem:
            error = str(problem)
        except Exception as problem:  # a bug must not leave the page waiting for ever
            error = f"indexing failed: {type(problem).__name__}: {problem}"
            raise
        finally:
            with self._lock:
                self._status = replace(self._status, building=False, error=error)

    def _open(self) -> None:
        index = self._index
        if index is None:
            model = None if isinstance(self._embedder, str) else self._embedder
            index = CodeIndex.open(self.folder, embedder=model)
        else:
            index.refresh()
        with self._lock:
            self._index = index
            ready: Ready = "everything" if index.vectors_ready else "words"
            self._status = replace(self._status, ready=ready)
