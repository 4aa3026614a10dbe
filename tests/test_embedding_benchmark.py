"""The benchmark of embedding, on a repository of seven files."""

from pathlib import Path

import pytest

from benchmarks.embedding import main


def test_each_round_prints_a_ratio(tiny_repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_repo), "--files", "2", "--rounds", "2"]) == 0
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    assert len(rows) == 2
    assert all(float(row.split("|")[4]) > 0 for row in rows)
    assert "Median ratio: " in printed
    assert "A question takes " in printed


def test_without_the_repository_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/no/such/repository"]) == 1
    assert "nothing is measured: " in capsys.readouterr().err
