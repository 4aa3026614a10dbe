"""Checkpoints are whole or absent, the newest are kept, and copies go to an object store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.errors import StorageError, TrainingError
from data_tools.progress import Progress
from training.checkpoints import Checkpoints, read_state, step_of, write_state


def write(checkpoints: Checkpoints, step: int) -> None:
    """Write a checkpoint of one file."""
    with checkpoints.write(step) as folder:
        (folder / "weights").write_text(str(step), "utf-8")


def test_the_newest_are_kept_by_their_number(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (8, 9, 10, 100):
        write(checkpoints, step)
    assert sorted(map(step_of, tmp_path.iterdir())) == [10, 100]
    assert checkpoints.last() == tmp_path / "step-100"


def test_what_fails_while_it_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    write(checkpoints, 1)
    with pytest.raises(RuntimeError, match="stopped"), checkpoints.write(2) as folder:
        (folder / "weights").write_text("half", "utf-8")
        raise RuntimeError("stopped")
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


def test_a_full_disk_is_said_with_what_is_free_and_the_one_before_stays(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    write(checkpoints, 1)
    with pytest.raises(StorageError, match="disk is full.*free some space"), checkpoints.write(2):
        raise OSError(28, "No space left on device")
    assert (tmp_path / "step-1" / "weights").read_text("utf-8") == "1"


def test_one_that_is_half_removed_is_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    write(checkpoints, 1)

    class KilledError(Exception):
        """Stands for a process that ends where a folder is removed."""

    def kill(folder: Path, *, ignore_errors: bool = False) -> None:
        if folder.exists():
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr("shutil.rmtree", kill)
        write(checkpoints, 2)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-2"]
    checkpoints.clean()
    assert [path.name for path in tmp_path.iterdir()] == ["step-2"]


def test_what_a_killed_process_left_is_no_checkpoint_and_is_removed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    (tmp_path / ".draft-3").mkdir()
    assert checkpoints.last() is None
    checkpoints.clean()
    assert not list(tmp_path.iterdir())


def test_a_process_that_does_not_write_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".draft-3").mkdir()
    Checkpoints(tmp_path, keep=1, is_writer=False).clean()
    assert (tmp_path / ".draft-3").exists()


def test_a_damaged_state_names_the_checkpoint_to_remove(tmp_path: Path) -> None:
    write_state(tmp_path, {"microbatch": 4})
    assert read_state(tmp_path) == {"microbatch": 4}
    (tmp_path / "run_state.json").write_text('{"microbatch": 4}')
    with pytest.raises(TrainingError, match="another version of codeqa"):
        read_state(tmp_path)
    (tmp_path / "run_state.json").write_text("{", "utf-8")
    with pytest.raises(TrainingError, match=rf"{tmp_path} is damaged .*; remove its folder"):
        read_state(tmp_path)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an object store on this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("S3_ENDPOINT_URL", f"http://{host}:{port}")
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="runs")
    yield f"http://{host}:{port}"
    server.stop()


def test_each_checkpoint_is_copied_to_an_object_store(tmp_path: Path, bucket: str) -> None:
    import boto3

    checkpoints = Checkpoints(tmp_path, keep=1, url="s3://runs/mine/")
    for step in (1, 2):
        write(checkpoints, step)
    checkpoints.finish()
    client = boto3.client("s3", endpoint_url=bucket)
    keys = {each["Key"] for each in client.list_objects_v2(Bucket="runs")["Contents"]}
    assert keys == {"mine/step-1/weights", "mine/step-2/weights"}
    assert [path.name for path in tmp_path.iterdir()] == ["step-2"]


def test_a_store_that_cannot_be_written_to_is_said_and_stops_nothing(
    tmp_path: Path, bucket: str
) -> None:
    told: list[Progress] = []
    checkpoints = Checkpoints(tmp_path, keep=1, url="s3://none-of-that-name", report=told.append)
    write(checkpoints, 1)
    checkpoints.finish()
    assert checkpoints.last() == tmp_path / "step-1"
    assert "a checkpoint is here only: cannot write to s3://none-of-that-name" in told[0].message


def test_an_unknown_store_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no object store that is known"):
        Checkpoints(tmp_path, keep=1, url="ftp://host/runs")
