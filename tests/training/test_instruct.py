"""Instruction tuning learns answers, counts what it leaves out, and goes on where it was killed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_tools.errors import ConfigError, TrainingError
from data_tools.progress import Progress
from tests.tiny_model import make_tiny_model
from tests.training.runs import batches, kill, log, losses, run_command, start, wait_for_step
from training.batches import SharedBatches
from training.config import TrainConfig
from training.train import train

FACTS = [
    {"question": f"How long is river {number}?", "answer": f"{number * 7} kilometres."}
    for number in range(24)
]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "rivers"
    folder.mkdir()
    for split, rows in (("train", FACTS[:21]), ("validation", FACTS[21:])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, "utf-8")
    return folder


def make_config(output: Path, base: Path, pairs: Path, **keys: Any) -> TrainConfig:
    """A run on a tiny model; `keys` replace whole top-level keys."""
    content = {
        "objective": "instruct",
        "output": str(output),
        "model": {"name": str(base), "method": "full"},
        "data": {"pairs": [str(pairs)], "max_tokens": 256},
        "duration": "8ba",
        "batch": {"size": 4},
        "optimizer": {"learning_rate": 5e-3},
        "precision": "fp32",
        "evaluation": {"interval": "4ba", "prompts": ["How long is river 3?"], "prompt_tokens": 4},
        "checkpoint": {"interval": "3ba"},
        "tracking": {"to": []},
    }
    return TrainConfig.model_validate(content | keys)


def test_the_loss_on_pairs_that_are_set_aside_falls(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    notices: list[str] = []

    def report(progress: Progress) -> None:
        notices.append(progress.message)

    result = train(make_config(tmp_path / "run", model_folder, pairs), report)
    assert result.status == "finished"
    assert result.last["eval_loss"] < result.first["eval_loss"] - 1
    assert result.last["eval_token_accuracy"] > result.first["eval_token_accuracy"]
    assert any("21 pairs of" in notice and "3 set aside" in notice for notice in notices)
    lines = log(tmp_path / "run")
    assert [line["step"] for line in lines if "samples" in line] == [0, 4, 8]
    assert {"loss", "learning_rate", "tokens_per_s", "mfu", "seconds_left"} <= set(
        next(line for line in lines if line["step"] == 1)
    )
    loaded = AutoModelForCausalLM.from_pretrained(result.folder)
    tokenizer = AutoTokenizer.from_pretrained(result.folder)
    assert loaded.generation_config.eos_token_id == [tokenizer.eos_token_id]


def test_the_loss_that_is_logged_is_that_of_the_answers_alone(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    result = train(make_config(tmp_path / "run", model_folder, pairs, duration="1ba"))
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder).eval()
    nats, tokens = 0.0, 0
    for row in FACTS[21:]:
        messages = [{"role": "user", "content": row["question"]}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        answer = tokenizer(row["answer"] + "<|im_end|>")["input_ids"]
        ids = torch.tensor([tokenizer(prompt)["input_ids"] + answer])
        with torch.no_grad():
            predicted = model(input_ids=ids).logits[0, -len(answer) - 1 : -1].log_softmax(-1)
        nats -= float(predicted.gather(1, torch.tensor(answer)[:, None]).sum())
        tokens += len(answer)
    assert result.first["eval_loss"] == pytest.approx(nats / tokens, rel=1e-5)


def test_packed_pairs_are_learnt_from_as_unpacked_ones_are(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    found = {}
    for packing in (True, False):
        data = {"pairs": [str(pairs)], "max_tokens": 4096, "packing": packing}
        keys: dict[str, Any] = {"duration": "3ba", "data": data, "batch": {"size": 21}}
        train(make_config(tmp_path / str(packing), model_folder, pairs, **keys))
        found[packing] = losses(tmp_path / str(packing))
    facts = json.loads((tmp_path / "True" / "run.json").read_text())
    assert (facts["packed"], facts["sequences"], facts["pairs"]) == (True, 1, 21)
    assert found[True] == pytest.approx(found[False], abs=1e-5)


def test_too_long_pairs_are_left_out_and_counted(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    data = {"pairs": [str(pairs)], "max_tokens": 55, "packing": False}
    train(make_config(tmp_path / "run", model_folder, pairs, data=data, duration="1ba"))
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    # From river 15 on, a pair is 56 tokens long; all that are set aside are.
    assert (facts["pairs"], facts["validation_pairs"]) == (15, 0)
    assert facts["left_out"] == {"empty": 0, "too_long": 9, "special_tokens": 0}


def test_a_limit_that_leaves_no_pair_says_how_short_the_shortest_is(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    data = {"pairs": [str(pairs)], "max_tokens": 16}
    with pytest.raises(TrainingError, match=r"longer than 16 tokens, the shortest has \d+; raise"):
        train(make_config(tmp_path / "run", model_folder, pairs, data=data))


def test_other_pairs_under_the_same_output_are_refused(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    copy = shutil.copytree(pairs, tmp_path / "rivers")
    config = make_config(tmp_path / "run", model_folder, copy, duration="4ba")
    train(config)
    shutil.rmtree(tmp_path / "run" / "model")  # as if it had been killed before the end
    with (copy / "train.jsonl").open("a") as file:
        file.write(json.dumps({"question": "New?", "answer": "Yes."}) + "\n")
    with pytest.raises(ConfigError, match="holds a run on rivers@"):
        train(config)


def test_a_run_that_is_killed_has_exactly_the_losses_of_one_that_is_not(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    model = {"name": str(model_folder), "method": "lora", "lora": {"rank": 4, "dropout": 0.1}}
    data = {"pairs": [str(pairs)], "max_tokens": 128}  # two pairs a sequence
    keys: dict[str, Any] = {"model": model, "data": data, "duration": "20ba"}
    keys["checkpoint"] = {"interval": "2ba"}  # an epoch has three steps
    whole = make_config(tmp_path / "whole", model_folder, pairs, **keys)
    train(whole)
    config = make_config(tmp_path / "run", model_folder, pairs, **keys)
    with start(config, tmp_path / "run.yaml") as process:
        wait_for_step(process, tmp_path / "run", 9)
        kill(process)
    assert max(losses(tmp_path / "run")) < 20
    assert train(config).status == "finished"
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")  # exactly
    assert batches(tmp_path / "run") == batches(tmp_path / "whole")


def test_two_processes_learn_what_one_does(tmp_path: Path, model_folder: Path, pairs: Path) -> None:
    model = {"name": str(model_folder), "method": "lora", "lora": {"rank": 4}}
    keys: dict[str, Any] = {"model": model, "parallel": "ddp"}
    train(make_config(tmp_path / "one", model_folder, pairs, **keys))
    config = make_config(tmp_path / "two", model_folder, pairs, **keys)
    code, output = run_command(config, tmp_path / "two.yaml", workers=2)
    assert code == 0, output
    assert batches(tmp_path / "two") == batches(tmp_path / "one")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    measured = [
        [line["eval_loss"] for line in log(tmp_path / name) if "eval_loss" in line]
        for name in ("one", "two")
    ]
    assert measured[1] == pytest.approx(measured[0], abs=1e-4)


def test_batches_are_the_same_ones_however_many_processes_share_them() -> None:
    def rows(rank: int, processes: int, taken: int) -> list[list[int | None]]:
        return list(
            SharedBatches(9, 4, seed=1, rank=rank, processes=processes, steps_taken=lambda: taken)
        )

    alone = rows(0, 1, taken=3)  # the second epoch
    assert sorted(row for batch in alone for row in batch if row is not None) == list(range(9))
    assert alone != rows(0, 1, taken=0)
    shared = [rows(rank, 2, taken=3) for rank in (0, 1)]
    for number, batch in enumerate(alone):
        parts = {row for side in shared for row in side[number]} - {None}
        assert parts == set(batch)
    assert shared[1][-1] == [None]  # one row is left for two processes
    assert rows(0, 1, taken=4) == alone[1:]
