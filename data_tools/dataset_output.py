"""Where a dataset is written: a folder, whole or not at all, or an object store, manifest last."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_tools.dataset import (
    MANIFEST,
    UNFINISHED,
    DatasetManifest,
    is_current,
    new_dataset,
    parse_manifest,
    read_manifest,
)
from data_tools.errors import DatasetError
from data_tools.object_store import exists, is_remote, read_text, upload, write_text
from data_tools.progress import Progress, ReportProgress


@contextmanager
def open_output(out: str, report: ReportProgress | None = None) -> Iterator[Path]:
    """Yield an empty folder; what is in it when the block ends well is then the dataset at `out`.

    :param out: a folder, or the URL of an object store.
    :raises StorageError: the disk is full, the store cannot be reached, or a folder is not ours.
    """
    if not is_remote(out):
        with new_dataset(Path(out)) as draft:
            yield draft
        return
    finished = exists(_manifest_address(out))  # asked first: an hour's work may hang on it
    with tempfile.TemporaryDirectory(prefix="codeqa-dataset-") as folder:
        yield Path(folder)
        _send(Path(folder), out, finished, report)


def find_current(out: str, name: str, inputs_hash: str) -> DatasetManifest | None:
    """Read the manifest at `out` if that very dataset stands there whole."""
    try:
        if is_remote(out):
            address = _manifest_address(out)
            manifest = parse_manifest(read_text(address), out) if exists(address) else None
        else:
            manifest = read_manifest(Path(out)) if is_current(Path(out), inputs_hash) else None
    except DatasetError:
        return None
    same = manifest and (manifest.name, manifest.hash) == (name, inputs_hash)
    return manifest if same else None


def refuse_overlap(out: str, inputs: Iterable[str]) -> None:
    """Refuse an output within its own input, or the other way round.

    :raises DatasetError: `out` overlaps one of the inputs.
    """
    for location in inputs:
        one, other = _parts(out), _parts(location)
        shorter = min(len(one), len(other))
        if one[:shorter] == other[:shorter]:
            raise DatasetError(
                f"the output {out} and the input {location} overlap; choose another --out"
            )


def _send(folder: Path, url: str, finished: bool, report: ReportProgress | None) -> None:
    """Upload a dataset, its manifest last; until then, a reader is told that it is unfinished."""
    manifest = read_manifest(folder)
    if finished:
        write_text(json.dumps({UNFINISHED: manifest.version}), _manifest_address(url))
    names = list(manifest.files)

    def sent(count: int) -> None:
        if report:
            report(Progress("upload", count, len(names)))

    upload(folder, url, names, sent=sent)
    upload(folder, url, [MANIFEST])


def _manifest_address(url: str) -> str:
    return f"{url.rstrip('/')}/{MANIFEST}"


def _parts(location: str) -> tuple[str, ...]:
    if is_remote(location):
        return tuple(location.rstrip("/").split("/"))
    return Path(location).expanduser().resolve().parts
