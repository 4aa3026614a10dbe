"""Folders and files that are written whole or not at all.

A folder is written beside its place, waited for until it is on the disk itself, and then swapped
with what stood there before, in one step: a reader, or whoever finds the disk after a crash, sees
the old one or the new one. Where the system cannot swap, two renames do, and what stood there is
put back if the second fails. A folder of anything else is never replaced.
"""

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_tools.errors import StorageError
from data_tools.storage import storage_errors

FEW_FILES = 64  # are waited for one by one, in milliseconds each; more, with all of the file system
_HERE, _SWAP = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)


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
                replace_folder(folder, draft, aside)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yield a path; the file written there takes the place of `file` when the block ends well.

    Whoever else writes that file at the same time is to be kept off by the caller.

    :raises StorageError: the disk is full or not writable.
    """
    draft = _beside(file, "new")
    with storage_errors(file.parent):
        try:
            yield draft
            _wait_for(draft)
            draft.replace(file)
            _wait_for(file.parent)
        finally:
            draft.unlink(missing_ok=True)


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


def replace_folder(folder: Path, draft: Path, aside: Path) -> None:
    """Put `draft` in the place of `folder`, durably; if that fails, leave what was there.

    :param aside: where that may be kept meanwhile; in the same folder.
    :raises OSError: the disk is full, or a folder cannot be renamed.
    """
    synchronise(draft)
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists() and _swap(draft, folder):
        aside = draft
    else:
        _rename(folder, draft, aside)
    _wait_for(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def synchronise(folder: Path) -> None:
    """Wait until a folder, and every file and folder in it, is on the disk itself.

    :raises OSError: the disk is full, or broken.
    """
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    if len(paths) <= FEW_FILES or not _wait_for_file_system(folder):
        for path in [*paths, folder]:
            _wait_for(path)


def _wait_for(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wait_for_file_system(folder: Path) -> bool:
    """Wait for all of the file system that holds a folder; False where the system cannot."""
    function = getattr(ctypes.CDLL(None), "syncfs", None)
    if function is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return bool(function(descriptor) == 0)
    finally:
        os.close(descriptor)


def _swap(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where system or file system cannot."""
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return bool(function and function(_HERE, names[0], _HERE, names[1], _SWAP) == 0)


def _rename(folder: Path, draft: Path, aside: Path) -> None:
    if folder.exists():
        folder.rename(aside)
    try:
        draft.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
