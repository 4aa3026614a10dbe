"""MDS shards of tokens: written and read through mosaicml-streaming.

The only module that imports streaming, as its `__init__` loads image datasets that need
torchvision: an empty `streaming.vision` stands in for them. A sample is a window of tokens and how
many of them are real; what is beyond is padding, told from its place and never from its id.
"""

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from data_tools.errors import ConfigError, DatasetError
from data_tools.storage import storage_errors

HASHES = ("sha1", "xxh64")
COMPRESSION = "zstd"
SHARD_BYTES = 1 << 26  # of a shard before compression; streaming's own default


class Sample(TypedDict):
    """A window of tokens.

    :param input_ids: shape (concat_tokens,), int32.
    :param length: how many of them are real, from the first on; the rest is padding.
    """

    input_ids: npt.NDArray[np.int32]
    length: int


@dataclass(frozen=True)
class ShardSettings:
    """How shards are written.

    :param concat_tokens: tokens of a window.
    :param compression: an algorithm of streaming, with its level: `zstd`, `zstd:7`, …; None for
        none.
    :param hashes: algorithms of streaming, noted for each shard in the index.
    :param shard_bytes: largest shard before compression.
    """

    concat_tokens: int
    compression: str | None = COMPRESSION
    hashes: tuple[str, ...] = HASHES
    shard_bytes: int = SHARD_BYTES

    @property
    def columns(self) -> dict[str, str]:
        """The samples' columns, with streaming's encodings."""
        return {"input_ids": f"ndarray:int32:{self.concat_tokens}", "length": "int"}

    def writer_options(self) -> dict[str, object]:
        """What streaming's `MDSWriter` is told, besides where to write."""
        return {
            "columns": self.columns,
            "compression": self.compression,
            "hashes": sorted(self.hashes),
            "size_limit": self.shard_bytes,
        }


def import_streaming() -> ModuleType:
    """Import mosaicml-streaming without torchvision.

    :raises DatasetError: it is not installed.
    """
    replace_vision()
    try:
        return importlib.import_module("streaming")
    except ImportError as error:
        raise DatasetError(
            f"MDS datasets need mosaicml-streaming ({error}); "
            "run `pip install --no-deps -r requirements-no-deps.txt`"
        ) from error


def replace_vision() -> None:
    """Let an empty module stand in for `streaming.vision`, where streaming is not imported yet."""
    if "streaming" not in sys.modules:
        sys.modules.setdefault("streaming.vision", ModuleType("streaming.vision"))


def check_shards(settings: ShardSettings) -> None:
    """Refuse settings that streaming does not take.

    :raises ConfigError: an unknown compression or hash; the message lists what there is.
    """
    import_streaming()
    from streaming.base.compression import get_compressions, is_compression
    from streaming.base.hashing import get_hashes, is_hash

    if settings.compression and not is_compression(settings.compression):
        known = sorted(name for name in get_compressions() if ":" not in name)
        raise ConfigError(
            f"there is no compression {settings.compression}; use none or one of "
            f"{', '.join(known)}, with a level such as zstd:7"
        )
    for name in settings.hashes:
        if not is_hash(name):
            raise ConfigError(
                f"there is no hash {name}; use some of {', '.join(sorted(get_hashes()))}"
            )


def write_shards(samples: Iterable[Sample], folder: Path, settings: ShardSettings) -> int:
    """Write samples to `folder`, which must be empty or not there; return how many.

    :raises StorageError: the disk is full or not writable.
    """
    streaming = import_streaming()
    count = 0
    with (
        storage_errors(folder),
        streaming.MDSWriter(out=str(folder), **settings.writer_options()) as writer,
    ):
        for sample in samples:
            writer.write(sample)
            count += 1
    return count
