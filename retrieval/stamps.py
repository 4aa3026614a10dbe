"""What was checked before and has not been touched since, by size, time and place on disk.

Hashing the files of a large index takes seconds, and reading a large folder again takes
minutes. A file that has been hashed once is not hashed again while its stamp stays the same;
a folder whose files all kept their stamps holds what it held. Any write changes a stamp. What
it cannot show is a disk that returns other bytes than were written: for that, stamps can be given
an age at which they count no more, and `codeqa status --verify` reads everything.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from data_tools.filters import VENDORED_FOLDERS
from data_tools.storage import open_plain

CHECKED = "checked.json"  # in a generation: the stamps of its large files when they were hashed
FOLDERS = "folders.json"  # in an index: the stamps of the plain folders in it
LARGEST_BYTES = 64_000_000  # of manifests and stamps; a thousand repositories need 1 MB
SETTLED_S = 2.0  # a file written later than so long before it was stamped may change unnoticed


def file_stamp(file: Path) -> list[int]:
    """Return what any write to a file changes: its size, time and inode.

    :raises OSError: it cannot be looked at.
    """
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def folder_stamp(folder: Path, *, leave_out: Path, now: float | None = None) -> str | None:
    """Hash the paths, sizes and times of everything below a folder; links are not followed.

    :param leave_out: a folder that may lie in it and is none of its content.
    :param now: Unix seconds; by default the clock's.
    :return: None if something changed so shortly before that a change after it may not show.
    """
    settled_ns = int(((time.time() if now is None else now) - SETTLED_S) * 1e9)
    digest = hashlib.sha256()
    try:
        for path, status in _walk(str(folder), str(leave_out.absolute())):
            if status.st_ctime_ns > settled_ns or status.st_mtime_ns > settled_ns:
                return None
            facts = (
                status.st_mode,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_ino,
            )
            digest.update(f"{path}\0{facts}\n".encode("utf-8", errors="surrogateescape"))
    except OSError:  # closed to us, or gone in the meantime
        return None
    return digest.hexdigest()


def _walk(folder: str, leave_out: str) -> Iterator[tuple[str, os.stat_result]]:
    stack = [folder]
    while stack:
        with os.scandir(stack.pop()) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        for entry in entries:
            if entry.path == leave_out:
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder and entry.name not in VENDORED_FOLDERS:
                stack.append(entry.path)
            yield entry.path, entry.stat(follow_symlinks=False)


def read_plain(file: Path) -> bytes:
    """Read a small file whole.

    :raises OSError: it cannot be read, is no plain file, or is longer than `LARGEST_BYTES`.
    """
    with open_plain(file) as opened:
        content = opened.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {LARGEST_BYTES:,} bytes", str(file))
    return content


def read_stamps(file: Path, longest_s: float = math.inf) -> dict[str, object]:
    """Read what `write_stamps` wrote; nothing, where that cannot be read.

    :param longest_s: nothing either, where that was longer ago.
    """
    try:
        if time.time() - file.stat().st_mtime > longest_s:
            return {}
        stamps = json.loads(read_plain(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def write_stamps(file: Path, stamps: Mapping[str, object]) -> None:
    """Write stamps whole or not at all; a folder that may not be written goes without."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps(stamps), "ascii")
        fresh.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
