"""Reading MDS shards in order, from a folder or an object store, each checked against its hash.

For what goes through a dataset once: counting, checking, converting again. Training reads through
streaming's own dataset. Nothing is written beside the shards, and columns that would have to be
unpickled are refused.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from data_tools.errors import CodeQAError, DatasetError, reason_of
from data_tools.mds import import_streaming
from data_tools.object_store import download, is_remote, read_text
from data_tools.storage import open_plain

INDEX = "index.json"


@dataclass(frozen=True)
class ShardCounts:
    """What the shards of a split hold; `tokens` are real ones, without padding."""

    samples: int
    tokens: int


class ShardFolder:
    """The shards of one MDS folder, read one at a time.

    :param location: a folder with an `index.json`, or the URL of one in an object store.
    :raises DatasetError: it is no MDS dataset, or has columns that are not safe to read.
    """

    def __init__(self, location: str) -> None:
        import_streaming()
        from streaming.base.format import reader_from_json

        self.location = location
        try:
            index = json.loads(self._read_index())
            readers = [reader_from_json(location, None, entry) for entry in index["shards"]]
            for reader in readers:
                reader.validate(allow_unsafe_types=False)
                _check_reader(reader)
        except CodeQAError:
            raise
        except Exception as error:  # the boundary: whatever streaming makes of a foreign index
            raise DatasetError(
                f"{location} is no MDS dataset that can be read: {reason_of(error)}; make it again"
            ) from error
        self._readers: list[Any] = readers  # streaming's `MDSReader`, which it declares more widely
        self._loaded: tuple[int, bytes] | None = None

    def _read_index(self) -> str:
        if is_remote(self.location):
            return read_text(f"{self.location}/{INDEX}")
        try:
            with open_plain(Path(self.location) / INDEX) as file:
                return file.read().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(
                f"{self.location} is no MDS dataset: it has no readable {INDEX}"
            ) from error

    @property
    def columns(self) -> dict[str, str]:
        """Names of the columns with streaming's encodings; empty if there is no shard."""
        if not self._readers:
            return {}
        first = self._readers[0]
        return dict(zip(first.column_names, first.column_encodings, strict=True))

    def __len__(self) -> int:
        return sum(reader.samples for reader in self._readers)

    def samples(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """Read samples in order, from the one of number `start` on.

        :raises DatasetError: a shard is missing or damaged; it is named, with its hashes.
        """
        for number, reader in enumerate(self._readers):
            if start >= reader.samples:
                start -= reader.samples
                continue
            with self._damage_errors(number):
                data = self._load(number)
                ends = np.frombuffer(data, np.uint32, reader.samples + 1, offset=4)
            for at in range(start, reader.samples):
                with self._damage_errors(number):
                    sample = reader.decode_sample(data[ends[at] : ends[at + 1]])
                yield sample
            start = 0

    @contextmanager
    def _damage_errors(self, number: int) -> Iterator[None]:
        """Turn whatever reading a shard raises into an error that names the shard."""
        try:
            yield
        except CodeQAError:
            raise
        except Exception as error:  # the boundary: streaming, numpy and the decompressors
            name = self._readers[number].raw_data.basename
            raise DatasetError(
                f"{name} of {self.location} is damaged ({reason_of(error)}); make the dataset "
                "again, or fetch it by its version"
            ) from error

    def _load(self, number: int) -> bytes:
        """Read, check and decompress a shard; the last one is kept."""
        if self._loaded and self._loaded[0] == number:
            return self._loaded[1]
        from streaming.base.compression import decompress

        reader = self._readers[number]
        info = reader.zip_data or reader.raw_data
        raw = Path(self.location) / reader.raw_data.basename
        if reader.zip_data and not is_remote(self.location) and raw.is_file():
            info = reader.raw_data  # decompressed by a training run, which may keep only this
        data = self._fetch(info.basename)
        _check(data, info.hashes, f"{info.basename} of {self.location}")
        if info is reader.zip_data:
            data = decompress(reader.compression, data)
        self._loaded = (number, data)
        return data

    def _fetch(self, name: str) -> bytes:
        if is_remote(self.location):
            with tempfile.TemporaryDirectory(prefix="codeqa-") as folder:
                download(f"{self.location}/{name}", Path(folder) / name)
                return (Path(folder) / name).read_bytes()
        try:
            with open_plain(Path(self.location) / name) as file:
                return file.read()
        except OSError as error:
            raise DatasetError(
                f"{name} of {self.location} cannot be read ({error.strerror}); "
                "make the dataset again"
            ) from error


def count_shards(folder: Path) -> ShardCounts:
    """Count the samples and real tokens of a folder of windows, reading all of it."""
    lengths = [int(sample["length"]) for sample in ShardFolder(str(folder)).samples()]
    return ShardCounts(len(lengths), sum(lengths))


def _check_reader(reader: Any) -> None:  # noqa: ANN401 - streaming's own
    """Refuse what an index should not ask for.

    :raises ValueError: a file outside the folder, or numbers of samples that there cannot be.
    """
    for info in filter(None, (reader.raw_data, reader.zip_data)):
        path = PurePosixPath(info.basename)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"it names a file outside its folder, {info.basename!r}")
    if not isinstance(reader.samples, int) or reader.samples < 0:
        raise ValueError(f"it tells of {reader.samples!r} samples")


def _check(data: bytes, hashes: dict[str, str], name: str) -> None:
    from streaming.base.hashing import get_hash

    for algorithm, expected in hashes.items():
        found = get_hash(algorithm, data)
        if found != expected:
            raise DatasetError(
                f"{name} is damaged: its {algorithm} is {found[:12]}…, not {expected[:12]}…; "
                "make the dataset again, or fetch it by its version"
            )
