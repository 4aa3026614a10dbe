"""Folders and files are written whole or not at all."""

import errno
import threading
from pathlib import Path

import pytest

from data_tools import drafts
from data_tools.drafts import FEW_FILES, replace_folder, synchronise, whole_file, whole_folder
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


def test_a_reader_never_finds_the_place_empty_while_a_folder_is_replaced(tmp_path: Path) -> None:
    def put(number: int) -> None:
        with whole_folder(tmp_path / "out", "mark") as draft:
            (draft / "mark").write_text(str(number))

    put(0)
    stop, missed = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if not (tmp_path / "out").exists():
                missed.append(True)

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(50):
        put(number)
    stop.set()
    reader.join()
    assert not missed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_where_folders_cannot_be_swapped_two_renames_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "_SWAP", 0x40000000)  # a flag that no file system knows
    for number in range(2):
        with whole_folder(tmp_path / "out", "mark") as draft:
            (draft / "mark").write_text(str(number))
    assert (tmp_path / "out" / "mark").read_text() == "1"
    with pytest.raises(OSError, match="No such file"):
        replace_folder(tmp_path / "out", tmp_path / "none", tmp_path / "aside")
    assert (tmp_path / "out" / "mark").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_many_files_are_waited_for_together(tmp_path: Path) -> None:
    for number in range(FEW_FILES + 1):
        (tmp_path / f"{number}").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    synchronise(tmp_path)


def test_a_file_takes_its_place_when_it_is_done_and_not_before(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for text in ("old", "new"):
        with whole_file(file) as draft:
            draft.write_text(text)
            assert not file.exists() or file.read_text() == "old"
    with pytest.raises(RuntimeError, match="stop"), whole_file(file) as draft:
        draft.write_text("half")
        raise RuntimeError("stop")
    with pytest.raises(StorageError, match="disk is full"), whole_file(file) as draft:
        draft.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
