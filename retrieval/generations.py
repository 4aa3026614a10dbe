"""The index folder: whole generations side by side, and `CURRENT` that names the one in force.

A generation is written into a folder of its own, hashed, synced to disk and renamed; then
`CURRENT` is replaced. Whoever is killed at any point leaves the old or the new index, never a
mix. Files are checked against the manifest's sizes and hashes before anything parses them.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import filelock
from pydantic import BaseModel, ConfigDict, ValidationError

from data_tools.errors import (
    IndexDamagedError,
    IndexMissingError,
    IndexVersionError,
    StorageError,
)
from data_tools.sources import Repository

FORMAT = (
    1  # of the folder; raised whenever older code could misread newer files, or cut differently
)
CURRENT = "CURRENT"
MANIFEST = "manifest.json"
KEPT_GENERATIONS = 2  # the one in force, and the one before for readers that still have it open


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RepositoryRecord(_Record):
    """A repository as it was indexed; the first fields are `data_tools.sources.Repository`'s."""

    name: str
    location: str
    ref: str | None
    commit: str
    committed_at: int | None
    web_url: str | None
    content_sha256: str
    files: int
    chunks: int
    skipped: int

    @property
    def repository(self) -> Repository:
        """What it was read from."""
        return Repository(
            self.name, self.location, self.ref, self.commit, self.committed_at, self.web_url
        )


class EmbedderRecord(_Record):
    """The embedding model that made the vectors."""

    name: str
    fingerprint: str


class FileRecord(_Record):
    """Size, in bytes, and hash of one file of the generation."""

    size: int
    sha256: str


class Manifest(_Record):
    """What a generation holds.

    :param vectors: how many chunks have vectors: 0 while only lexical search is ready.
    :param created_at: Unix seconds.
    """

    format: int
    embedder: EmbedderRecord
    repositories: tuple[RepositoryRecord, ...]
    chunks: int
    vectors: int
    created_at: float
    files: dict[str, FileRecord] = {}


def current_generation(folder: Path) -> Path:
    """Find the generation in force.

    :raises IndexMissingError: there is no index in `folder`.
    :raises IndexDamagedError: `CURRENT` names something that is not there.
    """
    try:
        name = (folder / CURRENT).read_text("ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise IndexMissingError(
            f"there is no index in {folder}; run `codeqa index` first: "
            f"codeqa index REPO --index {folder}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(folder, f"{CURRENT} cannot be read") from error
    generation = folder / name
    if not name or Path(name).name != name or not generation.is_dir():
        raise damaged(folder, f"{CURRENT} names no generation")
    return generation


def damaged(folder: Path, reason: str) -> IndexDamagedError:
    """Make the error that says what to run about a damaged index."""
    return IndexDamagedError(
        f"the index in {folder} is damaged ({reason}); "
        f"run `codeqa index REPO --index {folder}` again"
    )


def read_manifest(generation: Path) -> Manifest:
    """Read a generation's manifest without checking its files.

    :raises IndexDamagedError: it is missing or not a manifest.
    :raises IndexVersionError: it is of another format.
    """
    folder = generation.parent
    try:
        raw = (generation / MANIFEST).read_bytes()
        version = _Version.model_validate_json(raw).format
        if version != FORMAT:
            raise IndexVersionError(
                f"the index in {folder} has format {version}, this codeqa reads {FORMAT}; "
                f"run `codeqa index REPO --index {folder}` again"
            )
        return Manifest.model_validate_json(raw)
    except (OSError, ValidationError) as error:
        raise damaged(folder, f"{MANIFEST} cannot be read") from error


class _Version(BaseModel):
    format: int


def verify_files(generation: Path, manifest: Manifest) -> None:
    """Check every file's size and hash against the manifest.

    :raises IndexDamagedError: a file is missing, truncated or altered.
    """
    for name, record in manifest.files.items():
        file = generation / name
        try:
            if file.stat().st_size != record.size:
                raise damaged(generation.parent, f"{name} is not {record.size:,} bytes long")
            if _hash_file(file) != record.sha256:
                raise damaged(generation.parent, f"{name} was altered")
        except OSError as error:
            raise damaged(generation.parent, f"{name} cannot be read") from error


def start_draft(folder: Path) -> Path:
    """Make the folder that the next generation is written into."""
    numbers = [int(path.stem.split("-")[1]) for path in folder.glob("generation-*")]
    draft = folder / f"generation-{max(numbers, default=0) + 1:06d}.partial"
    draft.mkdir()
    return draft


def continue_draft(generation: Path) -> Path:
    """Start a draft with all files of `generation` but its manifest, linked where possible."""
    draft = start_draft(generation.parent)
    for file in sorted(generation.rglob("*")):
        copy = draft / file.relative_to(generation)
        if file.is_dir():
            copy.mkdir()
        elif file.name != MANIFEST:
            try:
                os.link(file, copy)
            except OSError:  # a file system without hard links
                shutil.copyfile(file, copy)
    return draft


def publish_draft(draft: Path, manifest: Manifest) -> Path:
    """Make a draft durable and put it in force.

    :param manifest: without its `files`; they are measured here.
    :return: the generation's folder.
    """
    folder = draft.parent
    manifest = manifest.model_copy(update={"files": _measure_files(draft)})
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
    _sync(draft / MANIFEST)
    _sync(draft)
    generation = draft.with_suffix("")
    draft.rename(generation)
    fresh = folder / f"{CURRENT}.new"
    fresh.write_text(generation.name + "\n", "ascii")
    _sync(fresh)
    fresh.replace(folder / CURRENT)
    _sync(folder)
    return generation


def remove_old_generations(folder: Path) -> None:
    """Remove what killed runs left behind, and all but the newest generations."""
    for partial in folder.glob("generation-*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
    current = (folder / CURRENT).read_text("ascii").strip() if (folder / CURRENT).exists() else ""
    old = sorted(path for path in folder.glob("generation-*") if path.name < current)
    for path in old[: -(KEPT_GENERATIONS - 1)]:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Hold the right to write to an index folder; make the folder if needed.

    :raises StorageError: another process is writing, or the folder cannot be made or written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(folder / "LOCK", timeout=0):
                yield
        except filelock.Timeout as error:
            raise StorageError(
                f"another `codeqa index` is writing to {folder}; wait for it to finish"
            ) from error


@contextlib.contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk or a folder that is not writable into a `StorageError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error) or "disk I/O" in str(error):
            raise _disk_full(folder) from error
        raise StorageError(f"cannot write to {folder}: {error}; check the folder") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space" in str(error):
            raise _disk_full(folder) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise StorageError(
                f"cannot write to {folder} ({error.strerror}); choose another --index folder"
            ) from error
        raise
    except ValueError as error:  # tantivy has no error types of its own
        if "No space" in str(error) or "os error 28" in str(error):
            raise _disk_full(folder) from error
        raise


def _disk_full(folder: Path) -> StorageError:
    parent = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    free_mb = shutil.disk_usage(parent).free / 1e6
    return StorageError(
        f"the disk is full: {free_mb:,.0f} MB are free for {folder}; free some space, or choose "
        "another --index folder (the old index, if any, is untouched)"
    )


def _measure_files(generation: Path) -> dict[str, FileRecord]:
    """Sync every file of a generation to disk and record its size and hash."""
    records = {}
    for file in sorted(generation.rglob("*")):
        if file.is_file() and file.name not in (MANIFEST, ".tantivy-writer.lock"):
            _sync(file)
            record = FileRecord(size=file.stat().st_size, sha256=_hash_file(file))
            records[file.relative_to(generation).as_posix()] = record
    return records


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
