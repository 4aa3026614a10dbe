"""Folders that are written whole or not at all.

A folder is written beside its place and renamed into it, so that a reader never sees half of one.
What stood there before is put back if that fails; a folder of anything else is never replaced.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_tools.errors import StorageError
from data_tools.storage import storage_errors


@contextmanager
def whole_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends without error.

    :param marker: name of a file that such folders hold; one that is there, is not empty and
        lacks it is somebody else's, and is not replaced.
    :raises StorageError: the disk is full or not writable, or `folder` is somebody else's.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow a link at the end
    draft, aside = _beside(folder, "new"), _beside(folder, "old")
    with _locked(folder):
        with storage_errors(folder):
            if aside.exists() and not folder.exists():  # killed between two renames
                aside.rename(folder)
            _refuse_other_folders(folder, marker)
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
        try:
            yield draft
            with storage_errors(folder):
                _synchronise(draft)
                replace_folder(folder, draft, aside)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    file = _beside(folder, "lock")
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise StorageError(
                f"another process is writing to {folder}; wait for it to finish"
            ) from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")


def _refuse_other_folders(folder: Path, marker: str) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise StorageError(f"{folder} is no plain folder, so it is not replaced; choose another")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / marker).is_file():
        raise StorageError(
            f"{folder} holds other files and no {marker}, so it is not replaced; "
            "move it away or choose another folder"
        )


def _synchronise(folder: Path) -> None:
    """Wait until every file of a folder is on the disk itself."""
    for path in [folder, *folder.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_folder(folder: Path, draft: Path, aside: Path) -> None:
    """Put `draft` in the place of `folder`; if that fails, leave what was there.

    :param aside: where that is kept meanwhile; in the same folder.
    :raises OSError: a folder cannot be renamed.
    """
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    try:
        draft.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
