"""Spikes are skipped and levels accepted; speed is counted by the published formula."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from tests.tiny_model import make_tiny_adapter, make_tiny_model
from tests.training.runs import log, pretrain_config
from tests.training.tiny_stream import make_stream
from training.callbacks import Termination
from training.guards import FEWEST_STEPS, MOST_SKIPPED, SpikeGuard
from training.speed import SpeedMeter, flops_per_token, peak_flops
from training.train import train


def usual(guard: SpikeGuard, steps: int = FEWEST_STEPS) -> SpikeGuard:
    """The guard after some steps that vary a little."""
    for step in range(steps):
        assert not guard.should_skip(3 + 0.01 * (step % 5), 1 + 0.01 * (step % 3))
    return guard


def test_a_spike_of_the_loss_or_of_the_gradient_is_skipped() -> None:
    assert usual(SpikeGuard()).should_skip(9.0, 1.0)
    assert usual(SpikeGuard()).should_skip(3.0, 9.0)
    assert not usual(SpikeGuard()).should_skip(3.05, 1.05)


def test_a_fall_is_no_spike_and_nothing_is_one_at_first() -> None:
    assert not usual(SpikeGuard()).should_skip(0.1, 0.01)
    assert not usual(SpikeGuard(), FEWEST_STEPS - 1).should_skip(90.0, 90.0)


def test_a_new_level_is_accepted_after_some_steps_of_it() -> None:
    guard = usual(SpikeGuard())
    assert [guard.should_skip(9.0, 1.0) for _ in range(MOST_SKIPPED + 2)] == [
        *[True] * MOST_SKIPPED,
        False,
        False,
    ]


def test_a_guard_that_is_restored_from_json_judges_alike() -> None:
    guard, again = usual(SpikeGuard()), SpikeGuard()
    again.restore(**json.loads(json.dumps(guard.state())))
    assert again.state() == guard.state()
    assert again.should_skip(9.0, 1.0)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_step_that_is_skipped_leaves_the_weights_as_they_were_and_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = make_tiny_model(tmp_path / "tiny")
    words = make_stream(tmp_path / "words", tokenizer)
    steps = 0
    seen: list[torch.Tensor] = []
    forward = LlamaForCausalLM.forward

    def spike_at_35(self: LlamaForCausalLM, **options: Any) -> Any:  # noqa: ANN401
        nonlocal steps
        output = forward(self, **options)
        if self.training:
            steps += 1
            seen.append(next(self.parameters()).detach().clone())
            if steps == 35:
                output.loss = output.loss * 50
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", spike_at_35)
    config = pretrain_config(
        tmp_path / "run", tokenizer, words, duration="37ba", checkpoint={"interval": "1dur"}
    )
    assert train(config).status == "finished"
    assert torch.equal(seen[35], seen[34])
    assert not torch.equal(seen[36], seen[35])
    events = [line for line in log(tmp_path / "run") if "event" in line]
    assert len(events) == 1
    assert events[0]["event"].startswith("step 35 is skipped: its loss is")


def test_flops_are_six_a_weight_and_twelve_a_pair_of_positions(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_tiny_model(tmp_path / "tiny"))
    table = model.get_input_embeddings().weight.numel()  # type: ignore[operator]
    weights = sum(each.numel() for each in model.parameters()) - table
    attention = 12 * 2 * (2 * 32) * 100  # layers, heads of 32, tokens
    assert flops_per_token(model, 100) == 6 * weights + attention


def test_frozen_weights_cost_four(tmp_path: Path) -> None:
    from peft import PeftModel

    base = make_tiny_model(tmp_path / "tiny")
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base),
        str(make_tiny_adapter(tmp_path / "adapter", base)),
        is_trainable=True,
    )
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    frozen = sum(each.numel() for each in model.parameters() if not each.requires_grad)
    frozen -= model.get_input_embeddings().weight.numel()
    attention = 12 * 2 * (2 * 32) * 100
    assert flops_per_token(model, 100) == 6 * trained + 4 * frozen + attention  # type: ignore


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA A10G", 70e12),
    ],
)
def test_a_card_s_peak_is_looked_up_by_its_name(
    monkeypatch: pytest.MonkeyPatch, card: str, peak: float
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: card)
    assert peak_flops("cuda", bfloat16=True) == peak


def test_a_processor_s_peak_is_measured() -> None:
    assert 1e8 < peak_flops("cpu", bfloat16=False) < 1e14


def test_speed_leaves_out_what_lies_between_steps() -> None:
    meter = SpeedMeter(flops_per_token=10, peak_flops=1e6)
    time.sleep(0.2)
    meter.resume()
    time.sleep(0.05)
    speed = meter.add_step(1000)
    assert 1000 / 0.2 < speed.tokens_per_s < 1000 / 0.05
    assert speed.mfu == pytest.approx(speed.tokens_per_s * 10 / 1e6)


def test_sigterm_is_a_wish_while_a_run_goes_on_and_no_longer() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Termination() as termination:
        os.kill(os.getpid(), signal.SIGTERM)
        assert termination.is_wished
    assert signal.getsignal(signal.SIGTERM) is before
