"""Repositories as folders of text files, with a manifest of what was kept, skipped, and why.

`<out>/<repo>/<path>.txt` holds the text of each file, `<out>/<repo>/manifest.jsonl` one line a
file. A repository is written to a folder beside its place and then renamed, so that a reader
never sees half of one; what stood there before is put back if that fails. A folder that is not
a flattened repository is never replaced.
"""

import errno
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from data_tools.drafts import replace_folder
from data_tools.errors import SourceError, StorageError
from data_tools.sources import (
    Report,
    Repository,
    SkippedFile,
    Snapshot,
    SourceFile,
    open_source,
    safe_relative_path,
    split_spec,
    unique_name,
)
from data_tools.storage import storage_errors
from data_tools.text import count_lines

MANIFEST = "manifest.jsonl"
SUFFIX = ".txt"
REPORT_EVERY = 500  # files
# A file of a repository can be named so that no file system takes it, or takes it beside another.
_UNWRITABLE = (
    errno.ENAMETOOLONG,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EILSEQ,
    errno.EINVAL,
)


@dataclass(frozen=True)
class FlattenReport:
    """What became of one repository.

    :param folder: where it was written.
    :param files: text files written; `lines` and `bytes` are theirs together.
    :param skipped: files listed in the manifest with the reason they were left out.
    :param notice: what the user should know of the repository, if anything.
    """

    repository: Repository
    folder: Path
    files: int
    skipped: int
    lines: int
    bytes: int
    notice: str | None = None


@dataclass
class _Counts:
    """What has been written so far."""

    files: int = 0
    skipped: int = 0
    lines: int = 0
    bytes: int = 0


def flatten(
    specs: Sequence[str], out: Path, *, report: Report | None = None
) -> list[FlattenReport]:
    """Write each repository as text below `out`; one that is there already is replaced whole.

    :param specs: `REPO[@REF]` each, as `data_tools.sources.split_spec` takes them.
    :param report: receives lines of progress.
    :raises SourceError: a repository cannot be read, or holds no text.
    :raises StorageError: `out` is full or not writable, holds another folder of that name, or
        another process is writing to it.
    """
    snapshots = _open_all(specs, report)
    with _locked(out):
        for snapshot in snapshots:
            _refuse_other_folders(out / snapshot.repository.name)
        return [_write(snapshot, out, report) for snapshot in snapshots]


def _open_all(specs: Sequence[str], report: Report | None) -> list[Snapshot]:
    """Open every repository under a name of its own, before anything is written."""
    snapshots: dict[str, Snapshot] = {}
    for spec in dict.fromkeys(specs):
        name = unique_name(split_spec(spec)[0], snapshots)
        snapshots[name] = open_source(spec, name=name, report=report)
    return list(snapshots.values())


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise StorageError(
                f"another process is writing to {out}; wait for it to finish"
            ) from error
    try:
        yield
    finally:
        lock.release()


def _refuse_other_folders(folder: Path) -> None:
    with storage_errors(folder):
        if _aside(folder).exists() and not folder.exists():  # killed between two renames
            _aside(folder).rename(folder)
        if folder.is_symlink() or (folder.exists() and not (folder / MANIFEST).is_file()):
            raise StorageError(
                f"{folder} is not a flattened repository, so it is not replaced; "
                "move it away or choose another folder"
            )


def _write(snapshot: Snapshot, out: Path, report: Report | None) -> FlattenReport:
    folder = out / snapshot.repository.name
    draft = folder.with_name(f".{folder.name}.new")
    try:
        with storage_errors(out):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            counts = _write_files(snapshot, draft, report)
            if not counts.files:
                raise SourceError(
                    f"{snapshot.repository.location} holds no text ({counts.skipped:,} files were "
                    "skipped); check that it is the right repository and branch"
                )
            replace_folder(folder, draft, _aside(folder))
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return FlattenReport(snapshot.repository, folder, **asdict(counts), notice=snapshot.notice)


def _write_files(snapshot: Snapshot, draft: Path, report: Report | None) -> _Counts:
    counts = _Counts()
    with (draft / MANIFEST).open("x", encoding="utf-8") as manifest:
        for file in snapshot.files():
            record = _write_file(file, draft)
            manifest.write(json.dumps(record, ensure_ascii=False) + "\n")
            if "reason" in record:
                counts.skipped += 1
                continue
            counts.files += 1
            counts.lines += int(record["lines"])
            counts.bytes += int(record["bytes"])
            if report and counts.files % REPORT_EVERY == 0:
                report(f"{snapshot.repository.name}: {counts.files:,} files written")
    return counts


def _write_file(file: SourceFile | SkippedFile, draft: Path) -> dict[str, str | int]:
    """Write one file, if it is to be kept, and return its line of the manifest."""
    if isinstance(file, SkippedFile):
        return {"path": file.path, "reason": file.reason}
    if not safe_relative_path(file.path):
        return {"path": file.path, "reason": "its path is unsafe or not printable text"}
    data = file.text.encode("utf-8")
    target = draft / (file.path + SUFFIX)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            stream.write(data)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        return {"path": file.path, "reason": f"cannot be written as text ({error.strerror})"}
    return {
        "repo": file.repo,
        "commit": file.commit,
        "path": file.path,
        "language": file.language,
        "sha256": file.sha256,
        "lines": count_lines(file.text),
        "bytes": len(data),
    }


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
