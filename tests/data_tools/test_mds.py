"""MDS shards are written and read through streaming, and checked by hash."""

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import ConfigError, DatasetError, StorageError
from data_tools.mds import Sample, ShardSettings, check_shards, import_streaming, write_shards
from data_tools.mds_reader import ShardFolder, count_shards

SETTINGS = ShardSettings(8, shard_bytes=400)


def samples(count: int) -> Iterator[Sample]:
    for at in range(count):
        yield {"input_ids": np.arange(at, at + 8, dtype=np.int32), "length": 8 - at % 3}


@pytest.mark.parametrize("compression", ["zstd", "zstd:7", "gz", None])
def test_samples_come_back_in_order(tmp_path: Path, compression: str | None) -> None:
    settings = ShardSettings(8, compression, ("sha256",), shard_bytes=400)
    assert write_shards(samples(50), tmp_path / "shards", settings) == 50
    folder = ShardFolder(str(tmp_path / "shards"))
    assert len(folder) == 50
    assert folder.columns == {"input_ids": "ndarray:int32:8", "length": "int"}
    for found, expected in zip(folder.samples(), samples(50), strict=True):
        np.testing.assert_array_equal(found["input_ids"], expected["input_ids"])
        assert found["length"] == expected["length"]
    assert [item["input_ids"][0] for item in folder.samples(33)] == list(range(33, 50))
    assert len(json.loads((tmp_path / "shards" / "index.json").read_text())["shards"]) > 3


# Streaming leaves the files that it decompresses to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_streaming_s_own_dataset_reads_them(tmp_path: Path) -> None:
    write_shards(samples(20), tmp_path / "shards", SETTINGS)
    streaming = import_streaming()
    dataset = streaming.StreamingDataset(local=str(tmp_path / "shards"), batch_size=1)
    assert [int(dataset[at]["input_ids"][0]) for at in range(20)] == list(range(20))
    # It decompresses beside the shards, and may be told to keep only that.
    for file in (tmp_path / "shards").glob("*.zstd"):
        file.unlink()
    assert count_shards(tmp_path / "shards").samples == 20


def test_real_tokens_are_counted_without_padding(tmp_path: Path) -> None:
    write_shards(samples(9), tmp_path / "shards", SETTINGS)
    counts = count_shards(tmp_path / "shards")
    assert (counts.samples, counts.tokens) == (9, 3 * (8 + 7 + 6))


def test_no_samples_are_an_empty_dataset(tmp_path: Path) -> None:
    write_shards(samples(0), tmp_path / "shards", SETTINGS)
    folder = ShardFolder(str(tmp_path / "shards"))
    assert (len(folder), folder.columns, list(folder.samples())) == (0, {}, [])


def test_a_damaged_shard_is_named_with_its_hashes(tmp_path: Path) -> None:
    write_shards(samples(50), tmp_path / "shards", SETTINGS)
    shard = tmp_path / "shards" / "shard.00001.mds.zstd"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=r"shard\.00001\.mds\.zstd of .* damaged: its sha1 is"):
        count_shards(tmp_path / "shards")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_shards(samples(50), tmp_path / "shards", SETTINGS)
    (tmp_path / "shards" / "shard.00001.mds.zstd").unlink()
    with pytest.raises(DatasetError, match=r"shard\.00001\.mds\.zstd of .* cannot be read"):
        count_shards(tmp_path / "shards")


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}', '{"shards": [{"version": 2}]}'])
def test_a_damaged_index_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(DatasetError, match="no MDS dataset"):
        ShardFolder(str(tmp_path))


def test_columns_that_would_be_unpickled_are_refused(tmp_path: Path) -> None:
    streaming = import_streaming()
    with streaming.MDSWriter(out=str(tmp_path / "shards"), columns={"text": "pkl"}) as writer:
        writer.write({"text": {"a": 1}})
    with pytest.raises(DatasetError, match="unsafe type"):
        ShardFolder(str(tmp_path / "shards"))


@pytest.mark.parametrize("name", ["../outside.mds", "/etc/passwd"])
def test_a_shard_outside_the_folder_is_not_read(tmp_path: Path, name: str) -> None:
    write_shards(samples(5), tmp_path / "shards", SETTINGS)
    file = tmp_path / "shards" / "index.json"
    index = json.loads(file.read_text())
    index["shards"][0]["raw_data"]["basename"] = name
    file.write_text(json.dumps(index))
    with pytest.raises(DatasetError, match="names a file outside its folder"):
        ShardFolder(str(tmp_path / "shards"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (ShardSettings(8, "zip"), "there is no compression zip; use none or one of .*zstd"),
        (ShardSettings(8, "zstd:99"), "there is no compression zstd:99"),
        (ShardSettings(8, hashes=("md6",)), "there is no hash md6; use some of .*sha256"),
    ],
)
def test_unknown_compressions_and_hashes_are_refused(settings: ShardSettings, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        check_shards(settings)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_streaming()

    def full(algorithm: str | None, data: bytes) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("streaming.base.format.base.writer.compress", full)
    with pytest.raises(StorageError, match="the disk is full"):
        write_shards(samples(50), tmp_path / "shards", SETTINGS)


def test_streaming_is_imported_without_torchvision() -> None:
    program = (
        "import sys; from data_tools.mds import import_streaming; import_streaming();"
        "print(*sorted({'streaming', 'torchvision'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=120, capture_output=True, text=True
    )
    assert run.stdout.split() == ["streaming"]
