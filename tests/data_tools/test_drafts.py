"""Folders are written whole or not at all."""

import errno
from pathlib import Path

import pytest

from data_tools.drafts import whole_folder
from data_tools.errors import StorageError


def test_a_folder_takes_its_place_when_it_is_done(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "a" / "out", "mark") as draft:
        (draft / "mark").write_text("1")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "mark").read_text() == "1"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out", "mark") as draft:
        (draft / "mark").write_text("old")
    with (
        pytest.raises(RuntimeError, match="stop"),
        whole_folder(tmp_path / "out", "mark") as draft,
    ):
        (draft / "mark").write_text("new")
        raise RuntimeError("stop")
    assert (tmp_path / "out" / "mark").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_is_cleared_or_put_back(tmp_path: Path) -> None:
    (tmp_path / ".out.new").mkdir()
    (tmp_path / ".out.new" / "half").write_text("half")
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "mark").write_text("old")
    with (
        pytest.raises(RuntimeError, match="stop"),
        whole_folder(tmp_path / "out", "mark") as draft,
    ):
        assert not list(draft.iterdir())
        raise RuntimeError("stop")
    assert (tmp_path / "out" / "mark").read_text() == "old"


def test_folders_of_others_files_and_links_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work").write_text("1")
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("mine", "file", "link"):
        with (
            pytest.raises(StorageError, match="is not replaced"),
            whole_folder(tmp_path / name, "mark"),
        ):
            raise AssertionError("not reached")
    assert (tmp_path / "mine" / "work").exists()


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out", "mark") as draft:
        with (
            pytest.raises(StorageError, match="another process is writing"),
            whole_folder(tmp_path / "out", "mark"),
        ):
            raise AssertionError("not reached")
        (draft / "mark").write_text("1")
    assert (tmp_path / "out" / "mark").is_file()


def test_a_disk_that_is_full_at_the_end_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with (
        pytest.raises(StorageError, match="the disk is full"),
        whole_folder(tmp_path / "out", "mark") as draft,
    ):
        (draft / "mark").write_text("1")
    assert not list(tmp_path.iterdir())
