"""The benchmark of reading shards, on a repository of seven files."""

import gc
from pathlib import Path

import numpy as np
import pytest

from benchmarks.mds_reading import main, ratio_interval, read_mapped


# Streaming leaves files to be closed by the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_both_ways_are_measured_with_a_model_and_without(
    tiny_repo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CODEQA_DATASETS", str(tmp_path / "versions"))
    sizes = ["--batch", "2", "--tokens", "32", "--hidden", "64"]
    assert main([str(tiny_repo), "--rounds", "2", "--steps", "1", *sizes]) == 0
    gc.collect()
    printed = capsys.readouterr().out
    for label in ("with the model", "without it"):
        (row,) = (line for line in printed.splitlines() if line.startswith(f"| {label} |"))
        assert all(float(cell.split()[0].replace(",", "")) > 0 for cell in row.split("|")[2:6])


def test_the_interval_of_a_ratio_holds_it() -> None:
    seconds = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0], [2.0, 2.0]])
    low, high = ratio_interval(seconds)
    assert 0.5 < low < 1 < high < 1.5
    assert ratio_interval(seconds * (3, 1)) == pytest.approx((3 * low, 3 * high))


def test_windows_of_the_mapped_file_are_its_tokens_in_order(tmp_path: Path) -> None:
    np.arange(10, dtype=np.int32).tofile(tmp_path / "tokens")
    batches = read_mapped(tmp_path / "tokens", windows=64, tokens=4, seed=0)
    windows = next(batches)["input_ids"].tolist()
    assert {tuple(window) for window in windows} == {
        tuple(range(start, start + 4)) for start in range(7)
    }


def test_without_the_repository_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/no/such/repository"]) == 1
    assert "nothing is measured: " in capsys.readouterr().err
