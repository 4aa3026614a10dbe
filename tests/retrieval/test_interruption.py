"""Killed processes and full disks: what was there before is still there, and still answers."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.errors import IndexMissingError, StorageError
from retrieval import CodeIndex, Progress
from retrieval.embed import DEFAULT_EMBEDDER
from retrieval.index import index_repositories
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo, commit_files, head_of

CODEQA = Path(sys.executable).with_name("codeqa")
DISK_BYTES = 1_000_000


def start_indexing(repo: Path, folder: Path) -> "subprocess.Popen[str]":
    """Run `codeqa index` with the packaged model, whichever the index was made with."""
    options = ["--index", str(folder), "--embedder", DEFAULT_EMBEDDER]
    return subprocess.Popen(
        [CODEQA, "index", str(repo), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_embedding(child: "subprocess.Popen[str]", folder: Path, generation: int) -> None:
    """Wait until the words of a draft are written: what comes next is the model."""
    done = folder / f"generation-{generation:06d}.partial" / "lexical" / "meta.json"
    while not (done.exists() and b'"max_doc"' in done.read_bytes()):
        assert child.poll() is None, child.communicate()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)  # else it was done before the signal came


def test_ctrl_c_ends_a_first_build_with_one_line_and_leaves_words_to_search(
    tiny_repo: Path, tmp_path: Path
) -> None:
    child = start_indexing(tiny_repo, tmp_path / "index")
    assert child.stderr is not None
    steps = [child.stderr.readline(), child.stderr.readline()]
    assert steps == ["opening limits\n", "words can be searched now; embedding goes on\n"]
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=30)
    assert (child.returncode, output) == (1, "")
    assert errors == (
        "codeqa: interrupted; what was there before is untouched, run it again to go on\n"
    )
    with CodeIndex.open(tmp_path / "index") as words:
        assert words.search("TokenBucket", k=1)[0].chunk.path == "limits/bucket.py"
    assert not list((tmp_path / "index").glob("*.partial"))


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_an_update_that_is_killed_leaves_the_old_index_answering(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder, blow: signal.Signals
) -> None:
    index = CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder)
    first, hits = head_of(tiny_repo), index.search("token bucket")
    index.close()
    commit_files(tiny_repo, {"new.py": "quasar = 1\n"})
    child = start_indexing(tiny_repo, tmp_path / "index")  # it has all to embed
    wait_for_embedding(child, tmp_path / "index", 3)
    child.send_signal(blow)
    _, errors = child.communicate(timeout=30)
    if blow == signal.SIGINT:
        assert child.returncode == 1
        assert errors.splitlines()[1:] == [
            "codeqa: interrupted; what was there before is untouched, run it again to go on"
        ]
    else:
        assert child.returncode == -signal.SIGKILL
    with CodeIndex.open(tmp_path / "index", embedder=fake_encoder) as old:
        assert old.repository("limits").commit == first
        assert old.search("token bucket") == hits
    report = index_repositories((), tmp_path / "index", embedder=fake_encoder)
    assert report.changed and report.embedded == 1
    assert not list((tmp_path / "index").glob("*.partial"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of one megabyte."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs Linux and root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leave_free(disk: Path, free_bytes: int) -> None:
    """Fill the disk with one file until so much is left."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    filler.write_bytes(bytes(max(shutil.disk_usage(disk).free - free_bytes, 0)))


def test_a_first_build_on_a_disk_that_fills_up_says_so_wherever_it_stops(
    tiny_repo: Path, small_disk: Path, fake_encoder: FakeEncoder
) -> None:
    last_stages = set()
    for free_bytes in range(0, DISK_BYTES, 4_096):
        leave_free(small_disk, free_bytes)
        steps: list[Progress] = []
        try:
            CodeIndex.build(
                [str(tiny_repo)], small_disk / "index", embedder=fake_encoder, report=steps.append
            ).close()
        except StorageError as error:
            assert str(error).startswith("the disk is full: 0 MB are free")
            last_stages.add(steps[-1].stage if steps else "")
            left = {path.name for path in (small_disk / "index").glob("*")}
            if any(step.stage == "lexical-ready" for step in steps):
                with CodeIndex.open(small_disk / "index") as words:
                    assert words.search("TokenBucket", k=1)[0].chunk.path == "limits/bucket.py"
                shutil.rmtree(small_disk / "index")
            else:
                assert left <= {"LOCK"}
                with pytest.raises(IndexMissingError):
                    CodeIndex.open(small_disk / "index")
        else:
            break
    else:
        pytest.fail("it never fitted")
    assert len(last_stages) > 2, "the disk was meant to fill up at several points"


def test_an_update_on_a_disk_that_fills_up_leaves_the_old_index_answering(
    tiny_repo: Path, small_disk: Path, fake_encoder: FakeEncoder
) -> None:
    folder = small_disk / "index"
    with CodeIndex.build([str(tiny_repo)], folder, embedder=fake_encoder) as index:
        before = index.search("token bucket")
    files = sorted(path.name for path in folder.iterdir())
    commit_files(tiny_repo, {f"new{n}.py": f"quasar_{n} = 1\n" * 50 for n in range(20)})
    failures = 0
    for free_bytes in range(0, DISK_BYTES, 16_384):
        leave_free(small_disk, free_bytes)
        try:
            index_repositories((), folder, embedder=fake_encoder)
        except StorageError as error:
            assert str(error).startswith("the disk is full")
            failures += 1
            assert sorted(path.name for path in folder.iterdir()) == files
            with CodeIndex.open(folder, embedder=fake_encoder) as old:
                assert old.search("token bucket") == before
        else:
            break
    assert failures > 3
    with CodeIndex.open(folder, embedder=fake_encoder) as new:
        assert new.search("quasar_7", k=1)[0].chunk.path == "new7.py"


def test_an_index_on_a_disk_that_may_only_be_read_can_be_searched_but_not_written(
    tiny_repo: Path,
    tmp_path: Path,
    small_disk: Path,
    fake_encoder: FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = small_disk / "index"
    with CodeIndex.build([str(tiny_repo)], folder, embedder=fake_encoder) as index:
        before = index.search("token bucket")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with CodeIndex.open(folder, embedder=fake_encoder) as opened:
        assert opened.search("token bucket") == before
    del opened
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())
    for target in (folder, small_disk / "new" / "index"):
        with pytest.raises(StorageError, match=r"cannot write to .*\(Read-only file system\)"):
            CodeIndex.build([str(tiny_repo)], target, embedder=fake_encoder)


def test_a_file_where_the_folder_should_be_is_refused(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "file" / "index"):
        with pytest.raises(StorageError, match="cannot write to .*; choose another --index folder"):
            CodeIndex.build([str(tiny_repo)], target, embedder=fake_encoder)


def test_a_cache_that_cannot_be_written_is_named_instead_of_the_index(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CODEQA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=f"{tmp_path}/file/cache"):
        CodeIndex.build([tiny_repo.as_uri()], tmp_path / "index", embedder=fake_encoder)


def test_what_killed_runs_left_behind_is_cleared_away_and_nothing_else(
    make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    repo, folder = make_repo({"a.py": "a = 1\n"}), tmp_path / "index"
    CodeIndex.build([str(repo)], folder, embedder=fake_encoder).close()
    for left in ("generation-000003.partial", "generation-000009", "generation-notes", "mine"):
        (folder / left).mkdir()
    commit_files(repo, {"a.py": "a = 2\n"})
    index_repositories((), folder, embedder=fake_encoder)
    names = {path.name for path in folder.iterdir()}
    kept = {"generation-000002", "generation-000003", "generation-notes", "mine"}
    assert names == kept | {"CURRENT", "LOCK", "embeddings.sqlite"}
