"""A full disk is told of in one line, whoever wrote to it; other errors pass."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from data_tools.errors import StorageError
from data_tools.storage import open_plain, storage_errors

WRITERS: dict[str, Callable[[Path], object]] = {
    "python": lambda file: file.write_bytes(bytes(100_000)),
    "safetensors": lambda file: save_file({"a": np.zeros(25_000, np.float32)}, file),
    "torch": lambda file: torch.save({"a": torch.zeros(25_000)}, file),
}


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_told_of(tmp_path: Path, writer: str) -> None:
    with (
        files_limited_to(50_000),
        pytest.raises(StorageError, match="the disk is full"),
        storage_errors(tmp_path),
    ):
        WRITERS[writer](tmp_path / "file")


def test_a_folder_that_may_not_be_written_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="choose another folder"), storage_errors(tmp_path):
        (tmp_path / "none/file").write_text("")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such layer"), storage_errors(tmp_path):
        raise RuntimeError("no such layer")


def test_only_plain_files_are_opened_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "link"):
        with open_plain(tmp_path / name) as opened:
            assert opened.read() == b"text"
    for name in ("zeros", "pipe", "none", "."):
        with pytest.raises(OSError):
            open_plain(tmp_path / name)
