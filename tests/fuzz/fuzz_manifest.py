"""An index whose manifest is any bytes is opened, or refused by an error that says what to do.

A manifest is guarded by a checksum of its own, which hardly any made-up one would pass: so each
input is tried as it is, and once more with the checksum put right. Run by `make fuzz`; what it
found stands in `tests/fuzz/corpus/manifest`.
"""

import contextlib
import json
import tempfile
from functools import cache
from pathlib import Path

from data_tools.errors import IndexDamagedError, IndexVersionError
from retrieval import generations
from retrieval.generations import CURRENT, MANIFEST, Manifest
from tests.fuzz import harness

NAME = "generation-000001"


def check(data: bytes) -> None:
    """Open an index as a search does, down to the hashes of its files.

    :param data: the manifest; up to the first zero byte, if there is one, `CURRENT`.
    """
    current, separator, manifest = data.partition(b"\0")
    if not separator:
        current, manifest = NAME.encode(), data
    open_index(current, manifest)
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        open_index(current, sealed(manifest))


def open_index(current: bytes, manifest: bytes) -> None:
    """Raise anything but what a damaged index is to raise."""
    folder = _folder()
    (folder / CURRENT).write_bytes(current)
    (folder / NAME / MANIFEST).write_bytes(manifest)
    with contextlib.suppress(IndexDamagedError, IndexVersionError):
        generation = generations.current_generation(folder)
        assert generation.parent == folder, "CURRENT leads out of the index"
        read = generations.read_manifest(generation)
        generations.verify_files(generation, read)
        inside = (generation / name for name in read.files)
        assert all(file.resolve().is_relative_to(folder) for file in inside), "a file leads out"


def sealed(manifest: bytes) -> bytes:
    """Give a manifest the checksum that its content asks for.

    :raises ValueError: it is none.
    """
    record = Manifest.model_validate(json.loads(manifest))
    return json.dumps({**json.loads(manifest), "checksum": record.measure()}).encode()


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="codeqa-fuzz-"))
    (folder / NAME).mkdir()
    (folder / NAME / "chunks").write_bytes(b"text\n")
    return folder


if __name__ == "__main__":
    harness.main("manifest", check)
