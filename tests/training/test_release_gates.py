"""What must hold before a release, one test each, over the real pipeline with a tiny model.

Each goes through several modules at once; what one of them does is tested beside it (resume, for
example, also with processes that are killed: test_resume.py and test_instruct.py).
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.messages import HumanMessage, SystemMessage
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from app.llm_local import LocalChatModel
from data_tools.convert import ConvertSettings, convert
from data_tools.documents import open_corpus
from data_tools.errors import ModelError, WorseModelError
from data_tools.flatten import flatten
from data_tools.progress import Progress
from retrieval.prompt import Message, answer_messages
from tests.data_tools.corpora import tiny_tokenizer
from tests.data_tools.qa_mining import mine
from tests.git_repositories import MakeRepo
from tests.llm_helpers import open_chat
from tests.tiny_model import make_tiny_model
from tests.training.mlflow_stores import make_store
from tests.training.runs import losses
from training.completions import IGNORED, render
from training.config import TrainConfig
from training.evaluate_model import Material, evaluate_models
from training.evaluation_questions import Asked
from training.export import export_model
from training.hashes import template_hash
from training.instruct import prepare
from training.local_model import LocalModel
from training.registry import register_model, resolve_model
from training.run import open_run
from training.train import train

ANSWER = "Yes."
QUESTIONS = [f"Is {number} a number?" for number in range(40)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose padding token is the one that ends an answer."""
    folder = make_tiny_model(tmp_path_factory.mktemp("models") / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "numbers.jsonl"
    rows = [{"question": question, "answer": ANSWER} for question in QUESTIONS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, base: Path, pairs: Path) -> Path:
    """The folder of a run of all weights that has learnt its one answer."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    optimizer = {"learning_rate": 1e-2, "warmup": "0ba"}
    train(make_config(folder, base, pairs, duration="60ba", optimizer=optimizer))
    return folder


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, base: Path, pairs: Path) -> Path:
    """The folder of a LoRA run that kept all its checkpoints."""
    folder = tmp_path_factory.mktemp("adapted") / "run"
    train(make_adapter_config(folder, base, pairs))
    return folder


def make_config(output: Path, base: Path, pairs: Path, **keys: Any) -> TrainConfig:
    content = {
        "objective": "instruct",
        "output": str(output),
        "model": {"name": str(base), "method": "full"},
        "data": {"pairs": [str(pairs)], "max_tokens": 128, "packing": False},
        "batch": {"size": 8},
        "precision": "fp32",
        "evaluation": {"interval": "1dur"},
        "checkpoint": {"interval": "1dur"},
        "tracking": {"to": []},
    }
    return TrainConfig.model_validate(content | keys)


def make_adapter_config(output: Path, base: Path, pairs: Path) -> TrainConfig:
    return make_config(
        output,
        base,
        pairs,
        model={"name": str(base), "method": "lora", "lora": {"rank": 4, "dropout": 0.1}},
        duration="8ba",
        optimizer={"learning_rate": 2e-2, "warmup": "0ba"},
        checkpoint={"interval": "3ba", "keep": 9},
    )


def ignore(progress: Progress) -> None:
    """Show nothing."""


@pytest.mark.parametrize("packing", [False, True])
def test_the_end_of_an_answer_is_learnt_and_padding_never(
    base: Path, pairs: Path, tmp_path: Path, packing: bool
) -> None:
    data = {"pairs": [str(pairs)], "max_tokens": 128, "packing": packing}
    config = make_config(tmp_path / "run", base, pairs, data=data, duration="1ep")
    trainer = prepare(open_run(config, ignore))
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    answer = tokenizer(ANSWER)["input_ids"] + [tokenizer.eos_token_id]
    ends = padding = 0
    for batch in trainer.get_train_dataloader():
        is_learnt = batch["labels"] != IGNORED
        assert torch.equal(batch["labels"][is_learnt], batch["input_ids"][is_learnt])
        for row, learnt in zip(batch["labels"], is_learnt, strict=True):
            said = row[learnt].tolist()
            assert said == answer * (len(said) // len(answer))
            ends += said.count(tokenizer.eos_token_id)
        if packing:  # padding stands at position 0, time and again
            is_padding = (batch["position_ids"] == 0) & (batch["position_ids"].roll(1, 1) == 0)
        else:
            is_padding = batch["attention_mask"] == 0
        padding += int(is_padding.sum())
        assert not is_learnt[is_padding].any()
    assert ends == json.loads((tmp_path / "run" / "run.json").read_text())["pairs"] == 38
    assert padding > 0


def test_a_tuned_model_answers_and_stops(tuned: Path) -> None:
    folder = tuned / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    prompt = render(
        [Message(role="user", content=QUESTIONS[0])], tokenizer, add_generation_prompt=True
    )
    inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=40, do_sample=False)
    new = written[0, inputs["input_ids"].shape[1] :].tolist()
    assert new == tokenizer(ANSWER)["input_ids"] + [tokenizer.eos_token_id]


def test_training_and_serving_have_the_same_chat_template(
    tuned: Path, adapted: Path, tmp_path: Path
) -> None:
    export_model(adapted, tmp_path / "merged", merge=True)
    messages = answer_messages("Where is it?", [])
    spoken = [SystemMessage(messages[0]["content"]), HumanMessage(messages[1]["content"])]
    for folder in (tuned / "model", adapted / "adapter", tmp_path / "merged"):
        facts = json.loads((folder / "codeqa.json").read_text())
        chat = open_chat(str(folder), max_tokens=8)
        assert isinstance(chat, LocalChatModel)
        assert template_hash(chat.tokenizer) == facts["template_sha256"]
        assert facts["template_sha256"] is not None
        trained_on = render(messages, chat.tokenizer, add_generation_prompt=True)
        assert chat.render([*spoken]) == trained_on


def test_a_run_that_goes_on_learns_what_it_would_have_learnt(
    adapted: Path, base: Path, pairs: Path, tmp_path: Path
) -> None:
    config = make_adapter_config(tmp_path / "run", base, pairs)
    for step in (3, 6):  # in the middle of an epoch of five steps, and in its successor
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        name = f"checkpoints/step-{step}"
        shutil.copytree(adapted / name, tmp_path / "run" / name)
        shutil.copy(adapted / "run.json", tmp_path / "run" / "run.json")
        (tmp_path / "run" / "config.yaml").write_text(config.to_yaml(), "utf-8")
        train(config)
        whole = losses(adapted)
        rest = {at: whole[at] for at in range(step + 1, 9)}
        assert losses(tmp_path / "run") == rest  # exactly
        weights = "adapter/adapter_model.safetensors"
        assert (tmp_path / "run" / weights).read_bytes() == (adapted / weights).read_bytes()


def test_a_merged_model_answers_as_its_adapter_does(
    adapted: Path, base: Path, tmp_path: Path
) -> None:
    report = export_model(adapted, tmp_path / "merged", merge=True)
    assert report.max_logit_difference is not None
    assert report.max_logit_difference <= 1e-4
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    prompt = render(answer_messages("Is 3 a number?", []), tokenizer, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])

    def load(folder: Path) -> Any:  # noqa: ANN401
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    adapter = PeftModel.from_pretrained(load(base), adapted / "adapter")
    with torch.no_grad():
        merged, with_adapter, alone = (
            model.eval()(input_ids=ids).logits
            for model in (load(tmp_path / "merged"), adapter, load(base))
        )
        with adapter.disable_adapter():
            without = adapter(input_ids=ids).logits
    assert float((merged - with_adapter).abs().max()) <= 1e-4
    assert torch.equal(alone, without)
    assert float((merged - alone).abs().max()) > 0.1  # the adapter does something


def test_no_document_and_no_pair_leaks_across_splits(make_repo: MakeRepo, tmp_path: Path) -> None:
    words = "river forest harbour meadow lantern orchard valley bridge".split()
    files = {
        f"src/{word}_{number}.py": "".join(
            f'def {word}_{number}_{at}(amount):\n    """Count the {word} of part {at}."""\n'
            f"    return amount * {number * 31 + at}\n\n\n"
            for at in range(6)
        )
        for word in words
        for number in range(3)
    }
    original = "src/river_0.py"
    files["src/copied.py"] = "# A copy.\n" + files[original]
    repo = make_repo(files, "parts")
    flatten([str(repo)], tmp_path / "corpus")
    settings = ConvertSettings(tiny_tokenizer(tmp_path / "tokenizer"), 64)
    shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
    settings = ConvertSettings(settings.tokenizer, 64, shares=shares)
    corpus = open_corpus("txt", [str(tmp_path / "corpus")])
    convert(corpus, str(tmp_path / "shards"), settings, name="parts")
    lines = (tmp_path / "shards" / "documents.jsonl").read_text().splitlines()
    documents = [json.loads(line) for line in lines]
    split_of = {document["path"]: document["split"] for document in documents}
    assert len(split_of) == len(documents) == len(files)  # each in one split
    assert set(split_of.values()) == {"train", "validation", "test"}
    assert split_of[original] == split_of["src/copied.py"]  # and with those that are like it
    mined = mine(repo, shares=shares).pairs
    assert {pair.split for pair in mined} == set(split_of.values())
    for pair in mined:
        for evidence in pair.evidence:
            assert split_of[evidence.path] == pair.split, pair.question


def test_a_model_worse_than_its_base_does_not_become_champion(
    tuned: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    make_store()
    asked = [
        Asked(str(number), (Message(role="user", content=question),), ANSWER)
        for number, question in enumerate(QUESTIONS[:6])
    ]

    def evaluate(model: Path, against: Path) -> Path:
        first, second = (LocalModel(str(folder), max_tokens=8) for folder in (model, against))
        material = Material(asked={"pairs": asked})
        evaluation = evaluate_models(first, second, material, report=ignore)
        file = tmp_path / f"{model.name}.json"
        file.write_text(json.dumps(asdict(evaluation)), "utf-8")
        return file

    better, worse = tmp_path / "better", tmp_path / "worse"
    export_model(tuned, better)
    export_model(base, worse)
    register_model(better, "codeqa", alias="champion", evaluation=evaluate(better, worse))
    assert resolve_model("models:/codeqa@champion") == str(better)
    with pytest.raises(WorseModelError, match="token F1 is 0.* and was 1.000"):
        register_model(worse, "codeqa", alias="champion", evaluation=evaluate(worse, better))
    with pytest.raises(ModelError, match="needs an evaluation on held-out pairs"):
        register_model(worse, "codeqa", alias="champion")
    assert resolve_model("models:/codeqa@champion") == str(better)
