"""The benchmark of training: a row for each way to train, and a refusal where there is no card."""

import re

import pytest
import torch

from benchmarks.training import main


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # streaming's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_tiny_model_s_speed_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--size", "tiny", "--steps", "1", "--methods", "full"]) == 0
    row = re.search(
        r"^\| ([\d,]+) \| full \| ([\d,]+) \| [\d.]+% \|", capsys.readouterr().out, re.M
    )
    assert row
    weights, speed = (int(figure.replace(",", "")) for figure in row.groups())
    assert 2_000_000 < weights < 10_000_000
    assert speed > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_large_one_is_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert "a GPU is needed, or --size tiny" in capsys.readouterr().err
