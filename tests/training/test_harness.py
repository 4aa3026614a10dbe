"""What lm-evaluation-harness logs becomes rows; without it, the message says what to install."""

import importlib.util
from pathlib import Path

import pytest

from data_tools.errors import ConfigError
from tests.tiny_model import make_tiny_model
from training.harness import run_harness, tally_samples
from training.local_model import LocalModel


def test_every_metric_of_single_numbers_is_taken_from_the_samples() -> None:
    samples = {
        "arc_easy": [
            {"doc_id": 0, "metrics": ["acc", "acc_norm"], "acc": 1.0, "acc_norm": 0.0},
            {"doc_id": 1, "metrics": ["acc", "acc_norm"], "acc": 0.0, "acc_norm": 0.0},
        ],
        "wikitext": [{"doc_id": 0, "metrics": ["bits_per_byte"], "bits_per_byte": (-9.0, 7)}],
    }
    tallies = tally_samples(samples)
    assert {name: tally.figure for name, tally in tallies.items()} == {
        "arc_easy/acc": 0.5,
        "arc_easy/acc_norm": 0.0,
    }


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is not None, reason="lm_eval is installed")
def test_without_the_harness_the_message_says_what_to_install(tmp_path: Path) -> None:
    model = LocalModel(str(make_tiny_model(tmp_path)), max_tokens=4)
    with pytest.raises(ConfigError, match=r'pip install "lm_eval\[hf\]"'):
        run_harness(model, None, ["arc_easy"], 1)
