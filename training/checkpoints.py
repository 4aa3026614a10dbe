"""Checkpoints of a run: whole or absent, the last few kept, copied to an object store if asked.

A checkpoint is written beside its place by all processes, then synced and renamed by the first of
them: a process that is killed at any moment leaves the one before it. It holds the model, the
optimiser, the schedule, the random numbers of each process and where the data was read to; weights
as safetensors, the rest as JSON or as tensors that are loaded with `weights_only`.
"""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_tools.drafts import replace_folder
from data_tools.errors import CodeQAError, StorageError, TrainingError, reason_of
from data_tools.object_store import check_address, upload
from data_tools.progress import Progress, ReportProgress
from data_tools.storage import storage_errors

STATE = "run_state.json"
FORMAT = 1  # of what stands in it
_PREFIX = "step-"
_DRAFT = ".draft-"


class Checkpoints:
    """The checkpoints of a run.

    :param folder: of the run; on several machines, one that all of them share.
    :param keep: how many, newest first.
    :param url: of an object store that they are copied to, each below its own name; what is there
        is never deleted.
    :param is_writer: this process is the one that renames and removes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        url: str | None = None,
        is_writer: bool = True,
        report: ReportProgress = lambda progress: None,
    ) -> None:
        self._folder = folder
        self._keep = keep
        self._url = check_address(url) if url else None
        self._is_writer = is_writer
        self._report = report
        self._pool = ThreadPoolExecutor(1, "upload")
        self._pending: Future[None] | None = None

    def last(self) -> Path | None:
        """The newest checkpoint; None if there is none."""
        return max(self._folder.glob(f"{_PREFIX}*"), key=step_of, default=None)

    def clean(self) -> None:
        """Remove what a process that was killed left half-written."""
        if self._is_writer:
            for draft in self._folder.glob(f"{_DRAFT}*"):
                shutil.rmtree(draft, ignore_errors=True)

    @contextmanager
    def write(self, step: int) -> Iterator[Path]:
        """Yield a folder to write into; it becomes the checkpoint when the block ends.

        All processes enter and leave together.

        :raises StorageError: the disk is full; the checkpoints before it stay.
        """
        draft = self._folder / f"{_DRAFT}{step}"
        with storage_errors(self._folder):
            if self._is_writer:
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir(parents=True)
            wait_for_all()
            try:
                yield draft
                wait_for_all()
                if self._is_writer:
                    self._put_in_place(draft, step)
            except BaseException:
                if self._is_writer:
                    shutil.rmtree(draft, ignore_errors=True)
                raise
            wait_for_all()

    def finish(self) -> None:
        """Wait until what is being copied has arrived, and say if it has not."""
        if self._pending is not None:
            try:
                self._pending.result()
            except StorageError as error:
                self._report(Progress("notice", message=f"a checkpoint is here only: {error}"))
            self._pending = None

    def _put_in_place(self, draft: Path, step: int) -> None:
        place, aside = self._folder / f"{_PREFIX}{step}", self._folder / f"{_DRAFT}old"
        replace_folder(place, draft, aside)
        self.finish()  # the copy of the one before, which may be removed now
        for old in sorted(self._folder.glob(f"{_PREFIX}*"), key=step_of)[: -self._keep]:
            shutil.rmtree(aside, ignore_errors=True)
            old.rename(aside)  # half removed, it is none any more
            shutil.rmtree(aside)
        if self._url:
            names = [path.name for path in sorted(place.iterdir())]
            url = f"{self._url}/{place.name}"
            self._pending = self._pool.submit(upload, place, url, names)


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint was made after."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write what a run needs to go on, besides what transformers writes."""
    (folder / STATE).write_text(json.dumps({"format": FORMAT, **state}), "utf-8")


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read what `write_state` wrote.

    :raises TrainingError: the checkpoint is damaged, or of another version of codeqa.
    """
    with damage_errors(checkpoint):
        state: dict[str, Any] = dict(json.loads((checkpoint / STATE).read_text("utf-8")))
    if state.pop("format", None) != FORMAT:
        raise TrainingError(
            f"the checkpoint {checkpoint} was written by another version of codeqa; go on with "
            "that one, or give another `output`"
        )
    return state


@contextmanager
def damage_errors(checkpoint: Path) -> Iterator[None]:
    """Turn whatever reading a checkpoint raises into an error that says what to do.

    :raises TrainingError: it cannot be read, or holds what is not read, such as a pickle.
    """
    try:
        yield
    except (CodeQAError, MemoryError):
        raise
    except Exception as error:  # the boundary: torch, safetensors and transformers read it
        if type(error).__name__ == "OutOfMemoryError":  # torch's, of a card
            raise
        raise TrainingError(
            f"the checkpoint {checkpoint} is damaged ({reason_of(error)}); remove its folder, and "
            "the run goes on from the one before"
        ) from error


def wait_for_all() -> None:
    """Wait until every process of the run is here."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
