"""Packed pairs give what each gives alone; where they would not, it is noticed."""

from array import array
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.tiny_model import make_tiny_model
from training.completions import IGNORED, Example
from training.packing import as_one_row, make_collator, make_dataset, sees_neighbours

PAD = 0


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def load(folder: Path, attention: str) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation=attention
    )
    model.eval()
    return model


def make_example(start: int, prompt: int, answer: int) -> Example:
    """Tokens counted up from `start`, the last `answer` of them learnt."""
    ids = list(range(start, start + prompt + answer))
    return Example(array("i", ids), array("i", [IGNORED] * prompt + ids[prompt:]))


EXAMPLES = [make_example(10, 4, 3), make_example(40, 3, 2), make_example(70, 5, 5)]


def test_pairs_are_packed_whole_and_each_begins_at_position_zero() -> None:
    dataset = make_dataset(EXAMPLES, pack_tokens=12)
    assert sorted(sum(lengths) for lengths in dataset["seq_lengths"]) == [10, 12]
    batch = make_collator(PAD, packed=True)([dataset[0], dataset[1]])
    assert set(batch) == {"input_ids", "labels", "position_ids"}
    rows = {tuple(row.tolist()) for row in batch["position_ids"]}
    assert rows == {(*range(10), 0, 0), (*range(7), *range(5))}


def test_packed_labels_are_the_answers_and_nothing_else() -> None:
    dataset = make_dataset(EXAMPLES, pack_tokens=64)
    batch = make_collator(PAD, packed=True)([dataset[0]])
    learnt = batch["labels"][batch["labels"] != IGNORED]
    assert sorted(learnt.tolist()) == sorted(
        label for example in EXAMPLES for label in example.labels if label != IGNORED
    )
    assert torch.equal(learnt, batch["input_ids"][batch["labels"] != IGNORED])


def test_rows_that_are_not_packed_are_padded_and_padding_is_no_label() -> None:
    dataset = make_dataset(EXAMPLES, pack_tokens=None)
    end = EXAMPLES[0].input_ids[-1]  # the padding token is the one that ends an answer
    batch = make_collator(end, packed=False)([dataset[0], dataset[1]])
    assert batch["input_ids"].tolist()[1][5:] == [end, end]
    assert batch["labels"].tolist()[1][5:] == [IGNORED, IGNORED]
    assert batch["labels"].tolist()[0][-1] == end
    assert batch["attention_mask"].tolist()[1] == [1] * 5 + [0] * 2


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_packed_pair_gives_what_it_gives_alone(attention: str, model_folder: Path) -> None:
    model = load(model_folder, attention)
    dataset = make_dataset(EXAMPLES, pack_tokens=64)
    batch = make_collator(PAD, packed=True)([dataset[0]])
    with torch.no_grad():
        packed = model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        ).logits[0]
        start = 0
        for length in dataset[0]["seq_lengths"]:
            alone = batch["input_ids"][:, start : start + length]
            expected = model(input_ids=alone, use_cache=False).logits[0]
            torch.testing.assert_close(packed[start : start + length], expected)
            start += length
    assert start == sum(len(example.input_ids) for example in EXAMPLES)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_pair_is_told_that_it_sees_none_of_its_neighbours(
    attention: str, model_folder: Path
) -> None:
    assert not sees_neighbours(load(model_folder, attention))


def test_models_that_do_not_read_positions_are_told_to_see_neighbours() -> None:
    from transformers import BloomConfig

    torch.manual_seed(0)
    config = BloomConfig(vocab_size=100, hidden_size=32, n_layer=1, n_head=2)
    assert sees_neighbours(AutoModelForCausalLM.from_config(config))


def test_packed_rows_as_one_row_give_the_same(model_folder: Path) -> None:
    model = load(model_folder, "sdpa")
    dataset = make_dataset(EXAMPLES, pack_tokens=12)
    batch = make_collator(PAD, packed=True)([dataset[0], dataset[1]])
    row = as_one_row(batch)
    with torch.no_grad():
        rows = model(**batch, use_cache=False)
        flat = model(**row, use_cache=False)
    assert row["input_ids"].shape == (1, batch["input_ids"].numel())
    learnt = batch["labels"].reshape(-1) != IGNORED
    torch.testing.assert_close(
        rows.logits.reshape(-1, rows.logits.shape[-1])[learnt], flat.logits[0][learnt]
    )
