"""Stamps: what was checked and has not been touched is not read again; what was touched is."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_tools.errors import IndexDamagedError
from retrieval.generations import (
    ALWAYS_HASHED_BYTES,
    FORMAT,
    RECHECK_S,
    EmbedderRecord,
    Manifest,
    publish_draft,
    read_manifest,
    reading,
    start_draft,
    verify_files,
)
from retrieval.index import index_repositories
from retrieval.stamps import (
    CHECKED,
    FOLDERS,
    SETTLED_S,
    folder_stamp,
    read_stamps,
    write_stamps,
)
from tests.fakes import FakeEncoder

LARGE = "large.bin"


@pytest.fixture
def generation(tmp_path: Path) -> Path:
    """A generation of one file that is hashed at each opening, and one that is not."""
    draft = start_draft(tmp_path)
    (draft / "small.bin").write_bytes(b"small")
    (draft / LARGE).write_bytes(bytes(ALWAYS_HASHED_BYTES + 1))
    embedder = EmbedderRecord(name="none", fingerprint="none")
    manifest = Manifest(
        format=FORMAT, embedder=embedder, repositories=(), chunks=0, vectors=0, created_at=0.0
    )
    return publish_draft(draft, manifest)


def flip_a_bit_unnoticed(file: Path) -> None:
    """Alter a file as a failing disk would: its time stays."""
    status = file.stat()
    with file.open("r+b") as opened:
        opened.seek(status.st_size // 2)
        opened.write(b"\1")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def touch(file: Path) -> None:
    os.utime(file, ns=(0, 0))


def replace_by_a_copy(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    copy.replace(file)


def test_a_large_file_is_hashed_again_only_when_it_was_touched(generation: Path) -> None:
    manifest = read_manifest(generation)
    assert set(manifest.files) == {"small.bin", LARGE}
    assert set(read_stamps(generation / CHECKED)) == {LARGE}
    flip_a_bit_unnoticed(generation / LARGE)
    verify_files(generation, manifest)  # nothing tells that it should be read
    with pytest.raises(IndexDamagedError, match="large.bin was altered"):
        verify_files(generation, manifest, thorough=True)


@pytest.mark.parametrize("act", [touch, replace_by_a_copy])
def test_a_touched_large_file_is_hashed_once_more_and_then_known(
    generation: Path, act: Callable[[Path], None]
) -> None:
    manifest, before = read_manifest(generation), read_stamps(generation / CHECKED)
    act(generation / LARGE)
    verify_files(generation, manifest)
    assert read_stamps(generation / CHECKED) != before
    flip_a_bit_unnoticed(generation / LARGE)
    act(generation / LARGE) if act is replace_by_a_copy else os.utime(generation / LARGE)
    with pytest.raises(IndexDamagedError, match="large.bin was altered"):
        verify_files(generation, manifest)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"large.bin": 7}', b"\xff"])
def test_stamps_that_cannot_be_read_only_cost_time(generation: Path, content: bytes) -> None:
    (generation / CHECKED).write_bytes(content)
    flip_a_bit_unnoticed(generation / LARGE)
    with pytest.raises(IndexDamagedError, match="large.bin was altered"):
        verify_files(generation, read_manifest(generation))


def test_a_large_file_that_nobody_touched_is_hashed_again_after_a_week(generation: Path) -> None:
    manifest = read_manifest(generation)
    flip_a_bit_unnoticed(generation / LARGE)
    verify_files(generation, manifest)
    long_ago = time.time() - RECHECK_S - 1
    os.utime(generation / CHECKED, (long_ago, long_ago))
    with pytest.raises(IndexDamagedError, match="large.bin was altered"):
        verify_files(generation, manifest)


def test_damage_that_shows_in_reading_makes_the_next_opening_hash_everything(
    generation: Path,
) -> None:
    manifest = read_manifest(generation)
    flip_a_bit_unnoticed(generation / LARGE)
    verify_files(generation, manifest)
    with (
        pytest.raises(IndexDamagedError, match=r"damaged \(7 of it\); run `codeqa index REPO"),
        reading(generation),
    ):
        raise IndexDamagedError("7 of it")
    with pytest.raises(IndexDamagedError, match="large.bin was altered"):
        verify_files(generation, manifest)


def test_a_small_file_is_hashed_always(generation: Path) -> None:
    flip_a_bit_unnoticed(generation / "small.bin")
    with pytest.raises(IndexDamagedError, match="small.bin was altered"):
        verify_files(generation, read_manifest(generation))


def test_stamps_that_cannot_be_written_are_gone_without(tmp_path: Path) -> None:
    write_stamps(tmp_path / "none" / "stamps.json", {"a": 1})
    (tmp_path / "folder").mkdir()
    write_stamps(tmp_path / "folder", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def later() -> float:
    return time.time() + 2 * SETTLED_S


def test_a_folder_s_stamp_shows_every_change_below_it(tmp_path: Path) -> None:
    folder, out = tmp_path / "folder", tmp_path / "folder" / "index"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.py").write_text("a = 1\n")
    (folder / "deep" / "b.py").write_text("b = 1\n")

    def stamp() -> str | None:
        return folder_stamp(folder, leave_out=out, now=later())

    def rewrite() -> None:
        time.sleep(0.02)  # file systems keep time in steps
        (folder / "a.py").write_text("a = 2\n")
        os.utime(folder / "a.py", ns=(0, 0))

    seen = [stamp()]
    assert stamp() == seen[0] is not None
    changes: list[Callable[[], object]] = [
        rewrite,
        lambda: (folder / "deep" / "c.py").write_text("c\n"),
        lambda: (folder / "deep" / "c.py").rename(folder / "deep" / "d.py"),
        lambda: (folder / "deep" / "d.py").unlink(),
        lambda: (folder / "a.py").chmod(0o400),
        lambda: (folder / "link").symlink_to("a.py"),
    ]
    for change in changes:
        change()
        assert stamp() not in seen
        seen.append(stamp())
    out.mkdir()
    seen.append(stamp())
    (out / "vectors").write_text("of the index itself")
    assert stamp() == seen[-1]


def test_what_changed_a_moment_ago_has_no_stamp(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    assert folder_stamp(tmp_path, leave_out=tmp_path / "index") is None
    assert folder_stamp(tmp_path / "none", leave_out=tmp_path) is None


def test_a_plain_folder_that_has_not_changed_is_not_read_again(
    tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    folder, out = tmp_path / "plain", tmp_path / "index"
    folder.mkdir()
    (folder / "a.py").write_text("a = 1\n")

    def index() -> tuple[bool, list[str]]:
        stages: list[str] = []
        report = index_repositories(
            [str(folder)],
            out,
            embedder=fake_encoder,
            report=lambda step: stages.append(step.stage),
        )
        return report.changed, stages

    time.sleep(SETTLED_S + 0.1)
    assert index()[0]
    assert set(read_stamps(out / FOLDERS)) == {"plain"}
    assert index() == (False, ["clone"])
    (folder / "a.py").touch()
    unchanged, stages = index()
    assert not unchanged and "parse" in stages
    (folder / "a.py").write_text("a = 2\n")
    assert index()[0]
