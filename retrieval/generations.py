"""The index folder: whole generations side by side, and `CURRENT` that names the one in force.

A generation is written into a folder of its own, hashed, synced to disk and renamed; then
`CURRENT` is replaced. Whoever is killed at any point leaves the old or the new index, never a
mix. Files are checked against the manifest's sizes and hashes before anything parses them, and
the manifest against a checksum of its own. A large file is hashed again only when something has
touched it since it was last hashed (`retrieval.stamps`), when reading it showed damage, and once
a week. What is no plain file is not read. Hashes tell damage, not malice: who may write to the
folder may write hashes that fit.
"""

import contextlib
import errno
import hashlib
import os
import re
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
from data_tools.storage import disk_full
from retrieval.stamps import CHECKED, file_stamp, read_plain, read_stamps, write_stamps

FORMAT = 3  # of the folder; raised whenever older code could misread newer files, or the reverse
CURRENT = "CURRENT"
MANIFEST = "manifest.json"
ALWAYS_HASHED_BYTES = 32_000_000  # files up to this size are hashed at each opening: 20 ms
RECHECK_S = 7 * 24 * 3600  # after so long, what nobody touched is hashed again: disks rot
LOCK_SUFFIX = ".lock"  # of files that tantivy makes when it opens an index, and needs no longer
KEPT_GENERATIONS = 2  # the one in force, and the one before for readers that still have it open
_NAME = re.compile(r"^generation-(\d{6,})$")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RepositoryRecord(_Record):
    """A repository as it was indexed; the first fields are `data_tools.sources.Repository`'s.

    :param redacted: how many secrets were taken out of it, by their kinds.
    """

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
    redacted: dict[str, int] = {}

    @property
    def repository(self) -> Repository:
        """What it was read from."""
        return Repository(
            self.name, self.location, self.ref, self.commit, self.committed_at, self.web_url
        )

    @property
    def spec(self) -> str:
        """What opens it again, at the newest commit of its branch."""
        return f"{self.location}@{self.ref}" if self.ref else self.location


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
    :param files: path in the generation → what it must be; filled when it is published.
    :param checksum: SHA-256 of all else in the manifest; likewise.
    """

    format: int
    embedder: EmbedderRecord
    repositories: tuple[RepositoryRecord, ...]
    chunks: int
    vectors: int
    created_at: float
    files: dict[str, FileRecord] = {}
    checksum: str = ""

    def repository(self, name: str) -> RepositoryRecord:
        """Return what is known of a repository.

        :raises KeyError: there is none of that name.
        """
        for record in self.repositories:
            if record.name == name:
                return record
        raise KeyError(name)

    def measure(self) -> str:
        """Compute what `checksum` should be."""
        rest = self.model_dump_json(exclude={"checksum"})
        return hashlib.sha256(rest.encode("utf-8")).hexdigest()


def current_generation(folder: Path) -> Path:
    """Find the generation in force.

    :raises IndexMissingError: there is no index in `folder`.
    :raises IndexDamagedError: `CURRENT` names something that is not there.
    """
    try:
        name = read_plain(folder / CURRENT).decode("ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise IndexMissingError(
            f"there is no index in {folder}; run `codeqa index` first: "
            f"codeqa index REPO --index {folder}"
        ) from None
    except PermissionError as error:
        raise StorageError(f"{folder} may not be read; change its permissions") from error
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(folder, f"{CURRENT} cannot be read") from error
    if not _NAME.match(name) or not (folder / name).is_dir():
        raise damaged(folder, f"{CURRENT} names no generation")
    return folder / name


def damaged(folder: Path, reason: str) -> IndexDamagedError:
    """Make the error that says what to run about a damaged index."""
    return IndexDamagedError(
        f"the index in {folder} is damaged ({reason}); "
        f"run `codeqa index REPO --index {folder}` again"
    )


def read_manifest(generation: Path) -> Manifest:
    """Read a generation's manifest without checking its files.

    :raises IndexDamagedError: it is missing, altered or not a manifest.
    :raises IndexVersionError: it is of another format.
    """
    folder = generation.parent
    try:
        raw = read_plain(generation / MANIFEST)
        version = _Version.model_validate_json(raw).format
        if version != FORMAT:
            raise IndexVersionError(
                f"the index in {folder} has format {version}, this codeqa reads {FORMAT}; "
                f"run `codeqa index REPO --index {folder}` again"
            )
        manifest = Manifest.model_validate_json(raw)
    except (OSError, ValidationError) as error:
        raise damaged(folder, f"{MANIFEST} cannot be read") from error
    if manifest.checksum != manifest.measure():
        raise damaged(folder, f"{MANIFEST} was altered")
    return manifest


class _Version(BaseModel):
    format: int


def verify_files(generation: Path, manifest: Manifest, *, thorough: bool = False) -> None:
    """Check every file's size and hash against the manifest.

    :param thorough: hash the large files too that nothing has touched since they were hashed.
    :raises IndexDamagedError: a file is missing, truncated or altered.
    """
    checked = {} if thorough else read_stamps(generation / CHECKED, RECHECK_S)
    stamps: dict[str, object] = {}
    for name, record in manifest.files.items():
        file = generation / name
        try:
            stamp = file_stamp(file)
            if not file.is_file() or file.stat().st_size != record.size:
                raise damaged(generation.parent, f"{name} is not {record.size:,} bytes long")
            large = record.size > ALWAYS_HASHED_BYTES
            if large:
                stamps[name] = stamp
            if not (large and checked.get(name) == stamp) and _hash_file(file) != record.sha256:
                raise damaged(generation.parent, f"{name} was altered")
        except OSError as error:
            raise damaged(generation.parent, f"{name} cannot be read") from error
    if stamps != checked:
        write_stamps(generation / CHECKED, stamps)


@contextlib.contextmanager
def reading(generation: Path) -> Iterator[None]:
    """Say of damage that shows when files are read what to do, and trust their stamps no more.

    :raises IndexDamagedError: what is read says so.
    """
    try:
        yield
    except IndexDamagedError as error:
        with contextlib.suppress(OSError):  # whoever opens the index next hashes every file
            (generation / CHECKED).unlink(missing_ok=True)
        raise damaged(generation.parent, str(error)) from error


def start_draft(folder: Path) -> Path:
    """Make the folder that the next generation is written into."""
    names = [_NAME.match(path.stem) for path in folder.glob("generation-*")]
    newest = max((int(name[1]) for name in names if name), default=0)
    draft = folder / f"generation-{newest + 1:06d}.partial"
    draft.mkdir()
    return draft


def continue_draft(generation: Path) -> Path:
    """Start a draft with all files of `generation` but its manifest, linked where possible."""
    draft = start_draft(generation.parent)
    for file in sorted(generation.rglob("*")):
        copy = draft / file.relative_to(generation)
        if file.is_dir():
            copy.mkdir()
        elif _is_content(file):
            try:
                os.link(file, copy)
            except OSError:  # a file system without hard links
                shutil.copyfile(file, copy)
    return draft


def publish_draft(draft: Path, manifest: Manifest) -> Path:
    """Make a draft durable and put it in force.

    :param manifest: without its `files` and `checksum`; they are measured here.
    :return: the generation's folder.
    """
    folder, generation = draft.parent, draft.with_suffix("")
    manifest = manifest.model_copy(update={"files": _measure_files(draft)})
    manifest = manifest.model_copy(update={"checksum": manifest.measure()})
    large = [name for name, file in manifest.files.items() if file.size > ALWAYS_HASHED_BYTES]
    if large:
        write_stamps(draft / CHECKED, {name: file_stamp(draft / name) for name in large})
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
    for path in (draft / MANIFEST, *(path for path in draft.rglob("*") if path.is_dir()), draft):
        _sync(path)
    fresh = folder / f"{CURRENT}.new"
    try:  # written before the draft is renamed: all that could fill the disk comes first
        fresh.write_text(generation.name + "\n", "ascii")
        _sync(fresh)
        draft.rename(generation)
        _sync(folder)  # before it is named: after a crash, the later rename may be there alone
        fresh.replace(folder / CURRENT)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync(folder)
    return generation


def remove_old_generations(folder: Path) -> None:
    """Remove what killed runs left behind, and all but the newest generations.

    Those of another format go too: no reader can want them, and secrets may still be in them.

    Call it with the write lock held: a generation newer than the one in force is then one that
    a killed run had no time to put in force.
    """
    remove_drafts(folder)
    try:
        current = current_generation(folder)
    except (IndexMissingError, IndexDamagedError):
        return  # which one is good cannot be told
    others = {path for path in folder.glob("generation-*") if _NAME.match(path.name)} - {current}
    old = sorted(path for path in others if path.name < current.name and _is_readable(path))
    for path in others.difference(old[len(old) - (KEPT_GENERATIONS - 1) :]):
        shutil.rmtree(path, ignore_errors=True)


def _is_readable(generation: Path) -> bool:
    """Tell whether a generation is of the format that is read here."""
    try:
        read_manifest(generation)
    except (IndexDamagedError, IndexVersionError):
        return False
    return True


def remove_drafts(folder: Path) -> None:
    """Remove drafts; call it with the write lock held, so that none of them is in use."""
    for partial in folder.glob("generation-*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


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
        if "full" in str(error):
            raise disk_full(folder) from error
        raise StorageError(f"cannot write to {folder}: {error}; check the folder") from error
    except ConnectionError:  # not storage: whoever reads our progress has gone, or the network
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space" in str(error):
            raise disk_full(folder) from error
        if error.filename and not _is_part(Path(os.fsdecode(error.filename)), folder):
            raise StorageError(
                f"cannot use {error.filename} ({error.strerror}); check its permissions"
            ) from error
        raise StorageError(
            f"cannot write to {folder} ({error.strerror or error}); choose another --index folder"
        ) from error


def _is_part(path: Path, folder: Path) -> bool:
    """Tell whether `path` is in `folder`, or is one of the folders around it."""
    path, folder = path.absolute(), folder.absolute()
    return path.is_relative_to(folder) or folder.is_relative_to(path)


def _measure_files(generation: Path) -> dict[str, FileRecord]:
    """Sync every file of a generation to disk and record its size and hash."""
    records = {}
    for file in sorted(generation.rglob("*")):
        if file.is_file() and _is_content(file):
            _sync(file)
            record = FileRecord(size=file.stat().st_size, sha256=_hash_file(file))
            records[file.relative_to(generation).as_posix()] = record
    return records


def _is_content(file: Path) -> bool:
    """Tell whether a file of a generation is listed in its manifest."""
    return file.name not in (MANIFEST, CHECKED) and file.suffix != LOCK_SUFFIX


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
