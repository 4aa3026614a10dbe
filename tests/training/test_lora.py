"""Adapters train on frozen bases, of 32 and of 4 bits, and fit no other base."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoTokenizer

from data_tools.errors import ModelError
from tests.tiny_model import make_tiny_model
from training.config import TrainConfig
from training.lora import check_base, load_with_adapter
from training.train import train

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: `make qlora`"
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"question": f"Which number is {at}?", "answer": f"It is {at}."} for at in range(12)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def make_config(output: Path, base: Path, pairs: Path, **model: Any) -> TrainConfig:
    content = {
        "objective": "instruct",
        "output": str(output),
        "model": {"name": str(base), "method": "lora", "lora": {"rank": 4}} | model,
        "data": {"pairs": [str(pairs)], "max_tokens": 128, "packing": False},
        "duration": "6ba",
        "batch": {"size": 4},
        "optimizer": {"learning_rate": 2e-2, "warmup": "0ba"},
        "precision": "fp32",
        "tracking": {"to": []},
    }
    return TrainConfig.model_validate(content)


@pytest.mark.parametrize("method", ["lora", pytest.param("qlora", marks=needs_bitsandbytes)])
def test_an_adapter_is_trained_and_names_its_base(
    tmp_path: Path, model_folder: Path, pairs: Path, method: str
) -> None:
    report = train(make_config(tmp_path / "run", model_folder, pairs, method=method))
    assert report.last["eval_loss"] < report.first["eval_loss"] - 0.1
    adapter = tmp_path / "run" / "adapter"
    assert report.folder == adapter
    check_base(adapter, model_folder)
    facts = json.loads((adapter / "codeqa.json").read_text())
    assert (facts["method"], facts["base"]) == (method, str(model_folder))
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(model_folder.resolve())
    assert {name.rpartition(".")[2] for name in settings["target_modules"]} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    weights = load_file(adapter / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert all(float(tensor.abs().max()) > 0 for tensor in weights.values())
    loaded: Any = AutoPeftModelForCausalLM.from_pretrained(adapter)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    inputs = tokenizer("Which number is 3?", return_tensors="pt")
    written = loaded.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert written.shape[1] > inputs["input_ids"].shape[1]
    ends = json.loads((adapter / "generation_config.json").read_text())["eos_token_id"]
    assert tokenizer.eos_token_id in ends


def test_an_adapter_for_another_base_is_refused(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    train(make_config(tmp_path / "run", model_folder, pairs))
    other = make_tiny_model(tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["lm_head.weight"] += 0.01
    from safetensors.torch import save_file

    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    adapter = tmp_path / "run" / "adapter"
    with pytest.raises(ModelError, match=r"was trained on .*tiny .*and .*other has other weights"):
        check_base(adapter, other)
    (adapter / "codeqa.json").unlink()
    with pytest.raises(ModelError, match=r"codeqa\.json is missing or damaged; train it again"):
        check_base(adapter, model_folder)
    with pytest.raises(ModelError, match="is no adapter"):
        check_base(model_folder, model_folder)


def test_targets_that_are_no_layers_are_named(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    config = make_config(tmp_path / "run", model_folder, pairs, lora={"targets": ["nothing"]})
    with pytest.raises(ModelError, match=r"no adapter fits .*nothing.*`model\.lora\.targets`"):
        train(config)


def test_only_the_layers_that_are_named_are_adapted(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    config = make_config(tmp_path, model_folder, pairs, lora={"targets": ["q_proj"], "rank": 2})
    model = load_with_adapter(config, AutoTokenizer.from_pretrained(model_folder))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(trained) == 4  # two matrices in each of two layers
    assert all("q_proj.lora_" in name for name in trained)


@needs_bitsandbytes
def test_every_layer_is_still_learnt_after_a_4_bit_model_was_evaluated(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    config = make_config(tmp_path, model_folder, pairs, method="qlora")
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    ids = torch.arange(40, 56)[None]

    def gradients(*, evaluated: bool) -> dict[str, torch.Tensor]:
        model = load_with_adapter(config, tokenizer)
        if evaluated:
            model.eval()
            with torch.no_grad():
                model(input_ids=ids)
            model.train()
        model(input_ids=ids, labels=ids).loss.backward()
        return {
            name: weight.grad
            for name, weight in model.named_parameters()
            if weight.grad is not None and "lora_B" in name
        }

    before, after = gradients(evaluated=False), gradients(evaluated=True)
    assert len(before) == 14  # seven linear layers in each of two
    assert all(float(gradient.abs().max()) > 0 for gradient in before.values())
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient)


@needs_bitsandbytes
def test_the_weights_of_a_qlora_base_are_4_bit_floats_with_quantised_scales(
    tmp_path: Path, model_folder: Path, pairs: Path
) -> None:
    config = make_config(tmp_path, model_folder, pairs, method="qlora")
    model = load_with_adapter(config, AutoTokenizer.from_pretrained(model_folder))
    states = [weight.quant_state for weight in model.parameters() if hasattr(weight, "quant_state")]
    assert len(states) == 14
    assert {state.quant_type for state in states} == {"nf4"}
    assert all(state.nested for state in states)
