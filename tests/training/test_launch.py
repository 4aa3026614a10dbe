"""How many processes train, on which machines, and what a wrong number gets."""

from pathlib import Path

import pytest
import torch

from data_tools.errors import ConfigError
from training.arguments import device_batch
from training.config import TrainConfig
from training.launch import Machines, count_workers, find_machines, prepare_single


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NUM_GPU_WORKERS", "NUM_NODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)


@pytest.mark.parametrize("cards", [0, 1, 4])
def test_one_process_a_card_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, cards: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    assert count_workers() == max(cards, 1)
    monkeypatch.setenv("NUM_GPU_WORKERS", "1")
    assert count_workers() == 1


@pytest.mark.parametrize("given", ["0", "-2", "two", "1.5", ""])
def test_less_than_one_worker_or_no_number_is_an_error(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("NUM_GPU_WORKERS", given)
    with pytest.raises(ConfigError, match=f"NUM_GPU_WORKERS is '{given}'; set it to"):
        count_workers()


def test_more_workers_than_cards_is_an_error_but_not_without_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NUM_GPU_WORKERS", "8")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(ConfigError, match="this machine has 4 cards"):
        count_workers()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert count_workers() == 8


def test_several_machines_are_told_of_each_other_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_machines().count == 1
    monkeypatch.setenv("NUM_NODES", "2")
    with pytest.raises(ConfigError, match="MASTER_ADDR"):
        find_machines()
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    monkeypatch.setenv("NODE_RANK", "1")
    assert find_machines() == Machines(2, 1, "10.0.0.1", 29500)
    monkeypatch.setenv("NODE_RANK", "2")
    with pytest.raises(ConfigError, match="0 to 1"):
        find_machines()
    monkeypatch.setenv("NODE_RANK", "one")
    with pytest.raises(ConfigError, match="NODE_RANK is 'one'"):
        find_machines()


def test_a_process_that_trains_alone_sees_one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, left in ((None, "0"), ("2,3", "2"), ("", "")):
        if given is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        prepare_single()
        import os

        assert os.environ["CUDA_VISIBLE_DEVICES"] == left


def test_a_batch_is_dealt_out_evenly_or_not_at_all(tmp_path: Path) -> None:
    config = TrainConfig.model_validate(
        {
            "objective": "pretrain",
            "output": str(tmp_path),
            "model": {"architecture": {}, "tokenizer": "t"},
            "data": {"streams": [{"dataset": "d"}]},
            "batch": {"size": 12},
        }
    )
    assert device_batch(config, 4) == 3
    with pytest.raises(
        ConfigError, match="12 cannot be dealt out to 5 processes; set batch.size=10"
    ):
        device_batch(config, 5)
