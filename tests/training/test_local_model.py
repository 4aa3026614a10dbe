"""A model in this process answers greedily and in batches as it would answer one by one."""

import json
from pathlib import Path

import pytest

from data_tools.errors import ModelError
from retrieval.prompt import MAX_EVIDENCE_CHARS, Message, answer_messages
from tests.fakes import MakeChunk
from tests.tiny_model import CONTEXT_TOKENS, make_tiny_adapter, make_tiny_model
from training.local_model import LocalModel

PROMPTS = [
    [Message(role="user", content=text)]
    for text in ("What refills the bucket?", "Why?", "Where is it said how long a client waits?")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights; its tokens are bytes."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes what it says."""
    return make_tiny_adapter(tmp_path_factory.mktemp("tiny") / "adapter", folder)


def test_a_batch_gives_the_answers_of_its_prompts_alone(folder: Path) -> None:
    model = LocalModel(str(folder), max_tokens=12)
    together = model.answer(PROMPTS)
    assert together == [model.answer([prompt])[0] for prompt in PROMPTS]
    assert all(together) and len(set(together)) > 1


def test_the_answer_is_greedy_and_the_continuation_of_the_chat_template(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = LocalModel(str(folder), max_tokens=6)
    [answer] = model.answer(PROMPTS[:1])
    ids = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPTS[0][0]["content"]}],
        add_generation_prompt=True,
        return_dict=False,
    )
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    said: list[int] = []
    for _ in range(6):
        with torch.inference_mode():
            said.append(int(plain(torch.tensor([[*ids, *said]])).logits[0, -1].argmax()))
    assert answer == str(model.tokenizer.decode(said, skip_special_tokens=True)).strip()


def test_prompts_are_batched_by_length_and_each_is_in_one_batch(folder: Path) -> None:
    model = LocalModel(str(folder), max_tokens=1000)
    prompts = [[Message(role="user", content="x" * size)] for size in (10, 900, 20, 1200, 30, 5)]
    batches = model.plan(prompts)
    assert sorted(number for batch in batches for number in batch) == list(range(6))
    assert batches[0] == [3]  # (1,200 + 1,000) tokens twice are more than 4,096
    assert batches[1][0] == 1
    assert model.plan([]) == []


def test_a_prompt_longer_than_the_context_has_no_answer(folder: Path) -> None:
    model = LocalModel(str(folder), max_tokens=4)
    long = [Message(role="user", content="x" * CONTEXT_TOKENS)]
    assert model.context_tokens == CONTEXT_TOKENS
    answers = model.answer([PROMPTS[0], long, PROMPTS[1]])
    assert answers[1] is None and answers[0] is not None and answers[2] is not None


def test_an_adapter_changes_scores_and_is_named(folder: Path, adapter: Path) -> None:
    base = LocalModel(str(folder), max_tokens=4)
    tuned = LocalModel(str(folder), str(adapter), max_tokens=4)
    alone = LocalModel(str(adapter), max_tokens=4)  # it knows its base
    assert tuned.name == f"{folder} + {adapter}" and alone.name == str(adapter)
    assert base.fingerprint != tuned.fingerprint == alone.fingerprint
    text = "def take(self): pass\n" * 5
    [[of_base], [of_tuned], [of_alone]] = [each.score([text]) for each in (base, tuned, alone)]
    assert of_base != of_tuned == of_alone


def test_it_can_be_used_again_after_it_gave_back_its_memory(folder: Path) -> None:
    model = LocalModel(str(folder), max_tokens=4)
    before = model.answer(PROMPTS)
    model.close()
    assert model.answer(PROMPTS) == before


def test_there_is_room_for_passages_that_fit_and_not_for_more(
    folder: Path, make_chunk: MakeChunk
) -> None:
    model = LocalModel(str(folder), max_tokens=64)
    passages = [make_chunk(f"value_{number} = compute({number})\n" * 5) for number in range(200)]
    room = model.room_for(passages[:20])
    size = len(passages[0].text)
    fitting = answer_messages("x" * 100, passages[: room // size])
    assert 0 < room < MAX_EVIDENCE_CHARS
    assert model.answer([fitting])[0] is not None
    twice = answer_messages("x" * 100, passages[: 2 * room // size])
    assert model.answer([twice])[0] is None


def test_a_model_without_a_chat_template_is_scored_but_not_asked(tmp_path: Path) -> None:
    model = LocalModel(str(make_tiny_model(tmp_path, chat_template=None)), max_tokens=4)
    assert model.score(["x = 1\n"])[0].tokens == 6
    with pytest.raises(ModelError, match="has no chat template.*without --pairs"):
        model.answer(PROMPTS)


def test_an_adapter_on_an_adapter_is_refused(adapter: Path) -> None:
    with pytest.raises(ModelError, match="is an adapter itself"):
        LocalModel(str(adapter), str(adapter), max_tokens=4)


def test_an_adapter_of_other_weights_is_refused(
    folder: Path, adapter: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "adapter"
    copy.mkdir()
    for file in adapter.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    facts = {"base": "another", "base_sha256": "0" * 64}
    (copy / "codeqa.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="was trained on another"):
        LocalModel(str(folder), str(copy), max_tokens=4)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model, adapter or run"):
        LocalModel(str(tmp_path), max_tokens=4)
    with pytest.raises(ModelError, match="check the path"):
        LocalModel(str(tmp_path / "none"), max_tokens=4)
