"""Files that cannot be written (a full disk, a folder that is not ours) or are none to be read."""

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data_tools.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What libraries say of it that write files by themselves: safetensors, and torch.
_SAID_FULL = re.compile(
    rf"\(os error ({'|'.join(map(str, _FULL))})\)|file write failed|\bunexpected pos \d"
)


@contextlib.contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn an `OSError` met while writing below `folder` into one that names the fix.

    :raises StorageError: in place of any `OSError`, and of what torch and safetensors raise when
        the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(folder) from error
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write to {folder} ({reason}); choose another folder") from error
    except Exception as error:
        if not _SAID_FULL.search(str(error)):
            raise
        raise disk_full(folder) from error


def open_plain(file: Path) -> BinaryIO:
    """Open a file to read its bytes; a pipe or a device in its place might never end.

    :raises OSError: it cannot be read, or is no plain file.
    """
    opened = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(errno.EINVAL, "it is no plain file", str(file))
    return opened


def disk_full(folder: Path) -> StorageError:
    """Say that the disk that holds `folder` is full."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    free_mb = shutil.disk_usage(there).free / 1e6
    return StorageError(
        f"the disk is full: {free_mb:,.0f} MB are free for {folder}; free some space, "
        "or choose another folder"
    )
