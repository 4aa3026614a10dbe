"""An export is a folder that any library loads, whole or absent; merged equals adapter."""

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_tools.errors import ModelError, StorageError
from tests.tiny_model import CHAT_TEMPLATE, make_tiny_adapter, make_tiny_model
from training.export import export_model
from training.hashes import model_hash, template_hash
from training.lora import FACTS
from training.merge import MAX_DIFFERENCE, probe_logits

RUN = {"datasets": ["limits@0123456789ab"], "seed": 17, "commit": "c" * 40}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    """An adapter as `codeqa train` leaves it."""
    folder = make_tiny_adapter(tmp_path / "run/adapter", base)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    facts = {"method": "lora", "base": str(base), "base_sha256": model_hash(base)}
    (folder / FACTS).write_text(json.dumps(facts))
    make_run_files(folder.parent)
    return folder


def make_run_files(run: Path) -> None:
    (run / "config.yaml").write_text("objective: instruct\n")
    (run / "run.json").write_text(json.dumps(RUN))


def load(folder: Path) -> Any:  # noqa: ANN401
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_a_merged_model_answers_as_the_base_with_the_adapter(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    out = tmp_path / "out"
    report = export_model(adapter.parent, out, merge=True)
    tokenizer = AutoTokenizer.from_pretrained(out)
    adapted = probe_logits(PeftModel.from_pretrained(load(base), str(adapter)), tokenizer)
    merged = probe_logits(load(out), tokenizer)
    assert float((merged - adapted).abs().max()) <= MAX_DIFFERENCE
    assert float((probe_logits(load(base), tokenizer) - adapted).abs().max()) > 1e-2
    assert report.max_logit_difference is not None
    assert report.max_logit_difference <= MAX_DIFFERENCE
    assert (report.kind, report.merged, report.dtype) == ("model", True, "F32")


def test_a_merged_folder_holds_all_that_serving_needs(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    out = tmp_path / "out"
    report = export_model(adapter, out, merge=True)
    facts = json.loads((out / FACTS).read_text())
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert facts["template_sha256"] == template_hash(tokenizer) == report.template_hash
    assert facts["weights_sha256"] == model_hash(out)
    assert facts["base_sha256"] == model_hash(base)
    assert facts["datasets"] == RUN["datasets"]
    assert facts["max_logit_difference"] == report.max_logit_difference
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.eos_token_id
    assert generation["pad_token_id"] == tokenizer.pad_token_id
    assert generation["temperature"] == 0.6  # the base's own
    card = (out / "README.md").read_text()
    assert "limits@0123456789ab" in card
    assert read_yaml_front(card)["tags"] == ["codeqa"]
    assert not [file for file in out.rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "out", "run"]


def read_yaml_front(card: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return content


def test_an_adapter_is_exported_as_it_is(tmp_path: Path, base: Path, adapter: Path) -> None:
    report = export_model(adapter, tmp_path / "out")
    assert (report.kind, report.merged, report.base) == ("adapter", False, str(base))
    assert model_hash(tmp_path / "out") == model_hash(adapter)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    again = PeftModel.from_pretrained(load(base), str(tmp_path / "out"))
    before = PeftModel.from_pretrained(load(base), str(adapter))
    assert torch.equal(probe_logits(again, tokenizer), probe_logits(before, tokenizer))


def test_a_model_and_its_newest_checkpoint_are_exported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in (2, 10):
        make_tiny_model(run / f"checkpoints/step-{step}")
    (run / "checkpoints/step-10/optimizer.pt").write_bytes(b"state")
    make_run_files(run)
    report = export_model(run, tmp_path / "out")
    assert (report.step, report.kind) == (10, "model")
    assert not (tmp_path / "out/optimizer.pt").exists()
    assert torch.equal(
        load(tmp_path / "out").lm_head.weight, load(run / "checkpoints/step-2").lm_head.weight
    )
    make_tiny_model(run / "model")
    assert export_model(run, tmp_path / "result").step is None


def test_a_base_in_bfloat16_gets_the_adapter_in_float32_and_is_stored_as_before(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    load(base).to(torch.bfloat16).save_pretrained(base)
    facts = {"base": str(base), "base_sha256": model_hash(base)}
    (adapter / FACTS).write_text(json.dumps(facts))
    report = export_model(adapter, tmp_path / "out", merge=True)
    assert report.dtype == "BF16"
    assert report.max_logit_difference is not None
    assert report.max_logit_difference <= MAX_DIFFERENCE


def test_an_adapter_is_never_merged_into_four_bits(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="never merged into those; give the full model"):
        export_model(adapter, tmp_path / "out", merge=True)
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_other_weights_is_refused(tmp_path: Path, base: Path, adapter: Path) -> None:
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"] += 1
    other = tmp_path / "other"
    shutil.copytree(base, other)
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    for merge in (True, False):
        with pytest.raises(ModelError, match="give the base that it was trained on"):
            export_model(adapter, tmp_path / "out", merge=merge, base=str(other))
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_fits_no_layer_is_refused(tmp_path: Path, adapter: Path) -> None:
    (adapter / FACTS).unlink()  # of another tool's making: no hash to tell by
    weights = load_file(adapter / "adapter_model.safetensors")
    wider = {name: tensor.repeat(1, 2) for name, tensor in weights.items()}
    save_file(wider, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="cannot be put on"):
        export_model(adapter, tmp_path / "out", merge=True)
    assert not (tmp_path / "out").exists()


def test_a_base_noted_relative_to_the_run_s_start_is_found_by_peft_s_own_note(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    facts = {"base": "elsewhere/base", "base_sha256": model_hash(base)}
    (adapter / FACTS).write_text(json.dumps(facts))
    assert export_model(adapter, tmp_path / "out", merge=True).base == str(base)


def test_a_missing_base_is_told_of(tmp_path: Path, base: Path, adapter: Path) -> None:
    shutil.rmtree(base)
    with pytest.raises(ModelError, match="or give the base's folder as --base"):
        export_model(adapter, tmp_path / "out", merge=True)


@pytest.mark.parametrize("keep", [0.5, 0.001])
def test_weights_cut_short_are_named(tmp_path: Path, base: Path, keep: float) -> None:
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        export_model(base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_part_of_the_weights_is_named(tmp_path: Path, base: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002\.safetensors"):
        export_model(base, tmp_path / "out")


def test_what_cannot_be_exported_is_told_in_one_line(tmp_path: Path, base: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        export_model(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no model, adapter or run"):
        export_model(tmp_path / "empty", tmp_path / "out")
    make_run_files(tmp_path / "empty")
    with pytest.raises(ModelError, match="no checkpoint yet"):
        export_model(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(ModelError, match="leave out --merge"):
        export_model(base, tmp_path / "out", merge=True)


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path, base: Path) -> None:
    export_model(base, tmp_path / "out")
    with pytest.raises(ModelError, match="is there already"):
        export_model(base, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="is there already"):
        export_model(base, tmp_path / "file")
    with pytest.raises(StorageError):
        export_model(base, tmp_path / "file/out")


def test_a_full_disk_leaves_nothing(tmp_path: Path, adapter: Path) -> None:
    for merge in (True, False):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
        try:
            with pytest.raises(StorageError, match="the disk is full"):
                export_model(adapter, tmp_path / "out", merge=merge)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "run"]


def test_a_merge_that_changes_an_answer_is_not_written(
    tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import LoraModel

    unload = LoraModel.merge_and_unload

    def forget(self: LoraModel, **options: Any) -> torch.nn.Module:
        model = unload(self, **options)
        with torch.no_grad():
            next(model.parameters()).add_(0.1)
        return model

    monkeypatch.setattr(LoraModel, "merge_and_unload", forget)
    with pytest.raises(ModelError, match="changed a logit"):
        export_model(adapter, tmp_path / "out", merge=True)
    assert not (tmp_path / "out").exists()
