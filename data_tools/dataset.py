"""Datasets and their versions: what one is made of, whether it is whole, where it lies.

A dataset is a folder with a `manifest.json`, written last. Its version is `NAME@HASH`, where the
hash covers everything that determines its content; a small JSON file a version remembers where it
lies, so that it can be fetched again by name. Nothing is guessed: a folder whose manifest does not
match its files is refused, and the file at fault is named.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from data_tools.clone import cache_folder
from data_tools.drafts import whole_folder
from data_tools.errors import DatasetError, StorageError
from data_tools.storage import open_plain, storage_errors

MANIFEST = "manifest.json"
DOCUMENTS = "documents.jsonl"
SHORT_HASH = 12  # hex digits of the hash in a version
UNFINISHED = "unfinished"  # the key of what stands in a manifest's place while one is uploaded

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_REFERENCE = re.compile(rf"({_NAME.pattern})(?:@([0-9a-f]{{4,64}}))?")
_READ_BYTES = 1 << 20


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSource(_Record):
    """One origin of documents.

    :param repo: its name; documents carry it.
    :param location: folder, file or URL that was read, or the repository's.
    :param commit: where it is a repository; `worktree` for a plain folder.
    :param files: documents that come from it.
    """

    repo: str
    location: str
    commit: str | None = None
    files: int


class TokenizerRecord(_Record):
    """Which tokenizer made the tokens.

    :param sha256: `data_tools.tokenizer.tokenizer_hash` of it.
    """

    name: str
    sha256: str
    vocab_size: int


class SplitCounts(_Record):
    """How much one split holds.

    :param tokens: real ones, without padding.
    :param bytes: of its text as UTF-8.
    :param near_duplicates: documents that are in this split because others like them are.
    """

    documents: int
    samples: int
    tokens: int = 0
    bytes: int = 0
    near_duplicates: int = 0


class DatasetManifest(_Record):
    """What a dataset is, in `manifest.json`.

    :param hash: sha256 over everything that determines the content.
    :param settings: what it was made with.
    :param splits: counts by name of split.
    :param files: sha256 of every file that holds samples, by path within the dataset.
    :param created_at: in ISO 8601, UTC.
    :param checksum: sha256 of all else in the manifest; datasets of earlier versions have none.
    """

    name: str
    hash: str
    kind: Literal["mds", "pairs", "raft"]
    sources: list[DatasetSource]
    tokenizer: TokenizerRecord | None = None
    settings: dict[str, JsonValue]
    splits: dict[str, SplitCounts]
    files: dict[str, str]
    created_at: str
    codeqa_version: str
    checksum: str = ""

    def measure(self) -> str:
        """Compute what `checksum` should be."""
        return hashlib.sha256(self.model_dump_json(exclude={"checksum"}).encode()).hexdigest()

    @property
    def version(self) -> str:
        """`NAME@HASH`, the hash shortened."""
        return f"{self.name}@{self.hash[:SHORT_HASH]}"


@contextmanager
def new_dataset(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of the dataset `folder` when the block ends well.

    :raises StorageError: the disk is full or not writable, or `folder` holds something else.
    """
    if (folder / MANIFEST).is_file():
        try:
            read_manifest(folder)
        except DatasetError as error:
            raise StorageError(
                f"{folder} holds a {MANIFEST} that is no dataset's, so it is not replaced; "
                "move it away or choose another folder"
            ) from error
    with whole_folder(folder, MANIFEST) as draft:
        yield draft


def content_hash(inputs: Mapping[str, Any]) -> str:
    """Hash everything that determines a dataset: JSON values, in which order of keys is nothing."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def check_name(name: str) -> str:
    """Return `name` if a dataset can be called that.

    :raises DatasetError: it holds other than letters, digits, `.`, `_` and `-`, or is too long.
    """
    if not _NAME.fullmatch(name):
        raise DatasetError(
            f"a dataset cannot be called {name!r}; use up to 80 letters, digits, `.`, `_` and `-`"
        )
    return name


def make_manifest(
    folder: Path,
    *,
    name: str,
    hash: str,
    kind: Literal["mds", "pairs", "raft"],
    sources: list[DatasetSource],
    settings: dict[str, JsonValue],
    splits: dict[str, SplitCounts],
    tokenizer: TokenizerRecord | None = None,
) -> DatasetManifest:
    """Describe the files that stand below `folder`, hashing each of them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return DatasetManifest(
        name=check_name(name),
        hash=hash,
        kind=kind,
        sources=sources,
        tokenizer=tokenizer,
        settings=settings,
        splits=splits,
        files={path.relative_to(folder).as_posix(): hash_file(path) for path in paths},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        codeqa_version=installed_version("codeqa"),
    )


def write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    """Write `manifest.json`; to be the last file of its folder."""
    manifest = manifest.model_copy(update={"checksum": manifest.measure()})
    with storage_errors(folder):
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")


def read_manifest(folder: Path) -> DatasetManifest:
    """Read a dataset's manifest.

    :raises DatasetError: there is none, or it is not one.
    """
    file = Path(folder) / MANIFEST
    try:
        with open_plain(file) as stream:
            return parse_manifest(stream.read().decode("utf-8"), str(folder))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{folder} is no dataset: it has no readable {MANIFEST}; make one with "
            "`codeqa convert` or `codeqa qa-pairs`"
        ) from error


def parse_manifest(text: str, location: str) -> DatasetManifest:
    """Read a manifest that was fetched from `location`.

    :raises DatasetError: it is not one, or the dataset was never written to its end.
    """
    try:
        if UNFINISHED in json.loads(text):
            raise DatasetError(f"{location} was not written to its end; run its conversion again")
        manifest = DatasetManifest.model_validate_json(text)
        if manifest.checksum not in ("", manifest.measure()):
            raise ValueError("it was altered")
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{MANIFEST} of {location} is damaged or of another version; make the dataset again"
        ) from error
    return manifest


def hash_file(file: Path) -> str:
    """Return the sha256 of a file.

    :raises OSError: it cannot be read, or is no plain file.
    """
    digest = hashlib.sha256()
    with open_plain(file) as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def verify(folder: Path) -> DatasetManifest:
    """Hash every file of a dataset and compare.

    :raises DatasetError: a file is missing or altered; it is named, with both hashes.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        try:
            found = hash_file(Path(folder) / name)
        except OSError as error:
            raise DatasetError(
                f"{name} of {folder} cannot be read ({error.strerror}); make the dataset again, "
                "or fetch it again by its version"
            ) from error
        if found != expected:
            raise DatasetError(
                f"{name} of {folder} is damaged: its sha256 is {found[:SHORT_HASH]}…, not "
                f"{expected[:SHORT_HASH]}…; make the dataset again, or fetch it by its version"
            )
    return manifest


def is_current(folder: Path, inputs_hash: str) -> bool:
    """Say whether `folder` holds the dataset of this content hash, all its files there."""
    try:
        manifest = read_manifest(folder)
    except DatasetError:
        return False
    there = all((Path(folder) / name).is_file() for name in manifest.files)
    return manifest.hash == inputs_hash and there


def datasets_folder() -> Path:
    """Return where versions are noted: `$CODEQA_DATASETS`, else in the user's cache."""
    return Path(os.environ.get("CODEQA_DATASETS") or cache_folder() / "datasets")


class Version(_Record):
    """Where a version of a dataset lies: a folder, or the URL of an object store."""

    name: str
    hash: str
    kind: str
    location: str
    created_at: str

    @property
    def version(self) -> str:
        """`NAME@HASH`, the hash shortened."""
        return f"{self.name}@{self.hash[:SHORT_HASH]}"


def register(location: Path | str, manifest: DatasetManifest | None = None) -> Version:
    """Note where a version lies, so that it is found by `NAME@HASH`.

    :param location: its folder, or the URL of an object store, for which `manifest` is needed.
    :raises DatasetError: there is no dataset.
    :raises StorageError: the note cannot be written.
    """
    manifest = manifest or read_manifest(Path(location))
    place = str(location) if "://" in str(location) else str(Path(location).absolute())
    fields = manifest.model_dump(include={"name", "hash", "kind", "created_at"})
    entry = Version(location=place, **fields)
    folder = datasets_folder()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{entry.version}.{os.getpid()}"
        draft.write_text(entry.model_dump_json(indent=2) + "\n", "utf-8")
        draft.replace(folder / f"{entry.version}.json")
    return entry


def versions() -> list[Version]:
    """List the versions that are noted, oldest first; what is no note is passed over."""
    found = []
    for file in sorted(datasets_folder().glob("*.json")):
        try:
            found.append(Version.model_validate_json(file.read_text("utf-8")))
        except (OSError, ValueError):
            continue
    return sorted(found, key=lambda entry: (entry.created_at, entry.version))


def locate(reference: str) -> str:
    """Find a dataset: a folder, a URL, `NAME@HASH`, or `NAME` for its newest version.

    :return: a folder or the URL of an object store.
    :raises DatasetError: there is none; or its folder holds another version by now.
    """
    entry = _find(reference)
    if entry is None:
        return reference
    if "://" not in entry.location:
        _check_version(entry, read_manifest(Path(entry.location)))
    return entry.location


def resolve(reference: str) -> Path:
    """Find a dataset as `locate` does, and fetch it to this disk if it lies elsewhere.

    :return: its folder; one from an object store is fetched once, whole, and checked.
    :raises DatasetError: there is none, or it is damaged.
    :raises StorageError: it cannot be fetched or written.
    """
    entry = _find(reference)
    if entry and is_current(folder := datasets_folder() / entry.version, entry.hash):
        return folder
    location = locate(reference)
    if "://" not in location:
        return Path(location)
    from data_tools.object_store import download, read_text

    manifest = parse_manifest(read_text(f"{location}/{MANIFEST}"), location)
    if entry:
        _check_version(entry, manifest)
    folder = datasets_folder() / manifest.version
    if not is_current(folder, manifest.hash):
        with whole_folder(folder, MANIFEST) as draft:
            for name in manifest.files:
                download(f"{location}/{name}", draft / name)
            write_manifest(draft, manifest)
            verify(draft)
    return folder


def _find(reference: str) -> Version | None:
    """Look a version up; None for a folder or a URL, which is its own place."""
    if "://" in reference or (Path(reference) / MANIFEST).is_file():
        return None
    match = _REFERENCE.fullmatch(reference)
    if not match:
        read_manifest(Path(reference))  # says what is missing
        return None
    name, digits = match[1], match[2] or ""
    known = [entry for entry in versions() if entry.name == name and entry.hash.startswith(digits)]
    if not known:
        raise DatasetError(
            f"there is no dataset {reference}, neither as a folder nor as a version in "
            f"{datasets_folder()}; `codeqa datasets` lists them"
        )
    return known[-1]


def _check_version(entry: Version, manifest: DatasetManifest) -> None:
    if manifest.hash != entry.hash:
        raise DatasetError(
            f"{entry.location} no longer holds {entry.version} but {manifest.version}; "
            "make the dataset again"
        )
