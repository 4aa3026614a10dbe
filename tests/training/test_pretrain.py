"""Pretraining learns, measures what it learns, keeps its batch, and stops where it cannot go on."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from data_tools.errors import ConfigError, DatasetError, ModelError, TrainingError
from data_tools.progress import Progress
from data_tools.tokenizer import load_tokenizer
from tests.tiny_model import make_tiny_model
from tests.training.runs import batches, log, losses, pretrain_config
from tests.training.tiny_stream import make_stream
from training.train import train

pytestmark = [
    # streaming leaves closing its files to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# What transformers lets a state of random numbers hold: arrays of numpy, nothing that runs.
ARRAY_PARTS: list[Any] = [
    np.array([0]).__reduce__()[0],
    np.ndarray,
    np.dtype,
    type(np.dtype(np.uint32)),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tokenizer") / "tiny")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Path:
    return make_stream(tmp_path_factory.mktemp("data") / "words", tokenizer)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path, words: Path) -> Path:
    """The folder of a run that learns to spell."""
    config = pretrain_config(
        tmp_path_factory.mktemp("learned") / "run",
        tokenizer,
        words,
        duration="120ba",
        optimizer={"learning_rate": 5e-3, "warmup": "0.1dur"},
        evaluation={"interval": "0.5dur", "prompts": ["def "], "prompt_tokens": 6},
        checkpoint={"interval": "50ba"},
    )
    assert train(config).status == "finished"
    return Path(config.output)


def test_bits_per_byte_fall_by_more_than_30_percent_and_below_the_unigrams(
    learned: Path, tokenizer: Path, words: Path
) -> None:
    measured = [line for line in log(learned) if "eval_loss" in line]
    assert [line["step"] for line in measured] == [0, 60, 120]
    before, after = measured[0]["eval_bits_per_byte"], measured[-1]["eval_bits_per_byte"]
    assert before == pytest.approx(8.0, abs=0.3)  # a token is a byte here
    assert after < 0.7 * before
    text = "def return class self import for while limit bucket token client request retry"
    shares = [text.count(letter) / len(text) for letter in set(text)]
    assert after < -sum(share * math.log2(share) for share in shares)


def test_the_evaluation_is_the_mean_over_the_tokens_of_the_validation_split(
    learned: Path, tokenizer: Path, words: Path, tmp_path: Path
) -> None:
    from data_tools.tokenizer import load_tokenizer
    from training.config import Stream
    from training.streams import open_sources, open_validation

    model = AutoModelForCausalLM.from_pretrained(learned / "model").eval()
    sources = open_sources([Stream(dataset=str(words))], load_tokenizer(str(tokenizer)))
    (validation,) = open_validation(sources, tmp_path)
    nats = []
    for inputs in validation.batches(1, len(validation), rank=0, processes=1):
        with torch.no_grad():
            logits = model(inputs["input_ids"]).logits[0, :-1]
        for scores, label in zip(logits, inputs["labels"][0, 1:], strict=True):
            if label >= 0:
                nats.append(-scores.log_softmax(0)[label].item())
    found = [line["eval_loss"] for line in log(learned) if "eval_loss" in line][-1]
    assert found == pytest.approx(sum(nats) / len(nats), abs=1e-5)


def test_the_log_tells_speed_memory_time_left_and_samples(learned: Path) -> None:
    steps = [line for line in log(learned) if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 121))
    assert steps[-1]["tokens"] == 120 * 8 * 32
    assert all(line["tokens_per_s"] > 0 and line["memory_mb"] > 100 for line in steps)
    assert 0 < steps[-1]["mfu"] < 1
    assert steps[-1]["seconds_left"] == 0
    assert steps[10]["seconds_left"] > 0
    assert steps[5]["learning_rate"] < steps[12]["learning_rate"] > steps[-1]["learning_rate"]
    samples = [line["samples"] for line in log(learned) if "samples" in line]
    assert len(samples) == 3
    assert samples[-1][0]["prompt"] == "def "
    assert samples[-1][0]["text"] != samples[0][0]["text"]


def test_the_model_is_a_folder_that_loads_with_its_tokenizer_and_card(
    learned: Path, tokenizer: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(learned / "model")
    assert isinstance(model, LlamaForCausalLM)
    assert model.config.use_cache is True
    assert len(load_tokenizer(str(learned / "model"))) == len(load_tokenizer(str(tokenizer)))
    card = json.loads((learned / "model" / "codeqa.json").read_text("utf-8"))
    assert card["method"] == "full"
    assert card["datasets"][0].startswith("words@")
    facts = json.loads((learned / "run.json").read_text("utf-8"))
    assert facts["seed"] == 17
    assert not (learned / "shards").exists()


def test_checkpoints_keep_the_newest_and_hold_no_pickled_arguments(learned: Path) -> None:
    kept = sorted(path.name for path in (learned / "checkpoints").iterdir())
    assert kept == ["step-100", "step-120"]
    files = {path.name for path in (learned / "checkpoints" / "step-100").iterdir()}
    assert {"model.safetensors", "optimizer.pt", "rng_state.pth", "run_state.json"} <= files
    assert "training_args.bin" not in files
    for name in ("optimizer.pt", "rng_state.pth", "scheduler.pt"):
        file = learned / "checkpoints" / "step-100" / name
        with torch.serialization.safe_globals(ARRAY_PARTS):
            torch.load(file, weights_only=True)


def test_microbatches_change_nothing_of_what_is_learned(
    tmp_path: Path, tokenizer: Path, words: Path
) -> None:
    for size in (8, 3):
        folder = tmp_path / str(size)
        batch = {"size": 8, "microbatch": size}
        train(pretrain_config(folder, tokenizer, words, batch=batch, duration="8ba"))
    assert batches(tmp_path / "8") == batches(tmp_path / "3")
    first, second = losses(tmp_path / "8"), losses(tmp_path / "3")
    assert max(abs(first[step] - second[step]) for step in first) < 1e-5


def limit_memory(monkeypatch: pytest.MonkeyPatch, most: int, message: str) -> list[int]:
    """Let Llama run out of memory above `most` sequences; return the sizes it was given."""
    sizes: list[int] = []
    forward = LlamaForCausalLM.forward

    def limited(self: LlamaForCausalLM, input_ids: torch.Tensor, **options: Any) -> Any:  # noqa: ANN401
        sizes.append(len(input_ids))
        if len(input_ids) > most:
            raise RuntimeError(message)
        return forward(self, input_ids, **options)

    monkeypatch.setattr(LlamaForCausalLM, "forward", limited)
    return sizes


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory",
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
    ],
)
def test_a_microbatch_that_does_not_fit_is_halved_and_the_batch_kept(
    tmp_path: Path, tokenizer: Path, words: Path, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    train(pretrain_config(tmp_path / "whole", tokenizer, words, duration="4ba"))
    sizes = limit_memory(monkeypatch, 2, message)
    told: list[Progress] = []
    keys = {"duration": "4ba", "evaluation": {"interval": "1dur", "batches": 1}}
    config = pretrain_config(tmp_path / "cut", tokenizer, words, **keys)
    monkeypatch.setattr("training.pretrain.PretrainTrainer.evaluate", lambda *_, **__: {})
    train(config, told.append)
    assert sizes[:7] == [8, 4, 2, 2, 2, 2, 2]
    assert set(sizes[2:]) == {2}
    whole, cut = losses(tmp_path / "whole"), losses(tmp_path / "cut")
    assert max(abs(whole[step] - cut[step]) for step in whole) < 1e-5
    assert batches(tmp_path / "whole") == batches(tmp_path / "cut")
    assert any("out of memory: from here on 2 sequences" in each.message for each in told)


def test_a_sequence_that_does_not_fit_alone_stops_the_run_and_leaves_its_checkpoints(
    tmp_path: Path, tokenizer: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pretrain_config(
        tmp_path / "run", tokenizer, words, duration="8ba", checkpoint={"interval": "2ba"}
    )
    monkeypatch.setattr("training.pretrain.PretrainTrainer.evaluate", lambda *_, **__: {})
    steps = 0
    forward = LlamaForCausalLM.forward

    def full_after_five(self: LlamaForCausalLM, **options: Any) -> Any:  # noqa: ANN401
        nonlocal steps
        steps += 1
        if steps > 5:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, **options)

    monkeypatch.setattr(LlamaForCausalLM, "forward", full_after_five)
    with pytest.raises(TrainingError, match=r"microbatch of 1 does not fit.*shorter.*step-4"):
        train(config)
    monkeypatch.undo()
    assert train(config).status == "finished"


def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched(
    tmp_path: Path, tokenizer: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pretrain_config(
        tmp_path / "run", tokenizer, words, duration="8ba", checkpoint={"interval": "2ba"}
    )
    monkeypatch.setattr("training.pretrain.PretrainTrainer.evaluate", lambda *_, **__: {})
    steps = 0
    forward = LlamaForCausalLM.forward

    def broken_after_five(self: LlamaForCausalLM, **options: Any) -> Any:  # noqa: ANN401
        nonlocal steps
        steps += 1
        output = forward(self, **options)
        if steps > 5:
            output.loss = output.loss * math.nan
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", broken_after_five)
    with pytest.raises(TrainingError, match=r"step 6 has a loss of nan.*last good.*step-4"):
        train(config)


@pytest.mark.parametrize("harm", ["flipped", "gone"])
def test_a_shard_that_cannot_be_read_stops_the_run_and_is_named(
    tmp_path: Path, tokenizer: Path, harm: str
) -> None:
    words = make_stream(tmp_path / "words", tokenizer)
    shard = sorted((words / "train").glob("*.zstd"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    if harm == "gone":
        shard.unlink()
    with pytest.raises(DatasetError, match=rf"train/{shard.name} of .*{words}"):
        train(pretrain_config(tmp_path / "run", tokenizer, words))
    assert not (tmp_path / "run" / "model").exists()


def test_a_model_that_is_loaded_is_trained_on_from_its_weights(
    tmp_path: Path, tokenizer: Path, words: Path, learned: Path
) -> None:
    config = pretrain_config(
        tmp_path / "run",
        tokenizer,
        words,
        model={"name": str(learned / "model")},
        duration="3ba",
    )
    report = train(config)
    before = [line["eval_loss"] for line in log(learned) if "eval_loss" in line][-1]
    assert report.first["eval_loss"] == pytest.approx(before, abs=1e-5)
    card = json.loads((tmp_path / "run" / "model" / "codeqa.json").read_text("utf-8"))
    assert card["base"] == str(learned / "model")
    assert len(card["base_sha256"]) == 64


def test_an_epoch_is_counted_and_ends_with_a_smaller_batch(tmp_path: Path, tokenizer: Path) -> None:
    words = make_stream(tmp_path / "words", tokenizer, samples=20)
    report = train(pretrain_config(tmp_path / "run", tokenizer, words, duration="2ep"))
    assert report.steps == 6  # batches of 8, 8 and 4, twice
    steps = [line for line in log(tmp_path / "run") if "loss" in line]
    assert steps[-1]["tokens"] == 40 * 32
    assert steps[2]["epoch"] == 1
    assert batches(tmp_path / "run")[1] != batches(tmp_path / "run")[4]  # shuffled anew


def test_windows_that_the_model_cannot_read_are_refused(
    tmp_path: Path, tokenizer: Path, words: Path
) -> None:
    from tests.training.runs import ARCHITECTURE

    model = {"architecture": ARCHITECTURE | {"max_tokens": 16}, "tokenizer": str(tokenizer)}
    with pytest.raises(ConfigError, match="windows of 32 tokens, and the model reads 16"):
        train(pretrain_config(tmp_path / "run", tokenizer, words, model=model))


def test_a_folder_that_holds_no_model_is_refused(
    tmp_path: Path, tokenizer: Path, words: Path
) -> None:
    model = {"name": str(tmp_path / "none"), "tokenizer": str(tokenizer)}
    with pytest.raises(ModelError, match="no model folder"):
        train(pretrain_config(tmp_path / "run", tokenizer, words, model=model))
