"""Adapters are listed with what they adapt; what does not fit or is broken says why."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from data_tools.errors import ModelError
from tests.tiny_model import make_tiny_adapter, make_tiny_model
from training.adapters import FOLDERS_VARIABLE, Adapter, adapter_folders, list_adapters
from training.hashes import model_hash
from training.lora import FACTS


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return make_tiny_adapter(tmp_path / "adapters/one", base)


def only(folder: Path, base: Path | None = None) -> Adapter:
    (found,) = list_adapters([folder], base)
    return found


def note_base(adapter: Path, base: Path, digest: str) -> None:
    facts = {"method": "qlora", "base": str(base), "base_sha256": digest}
    (adapter / FACTS).write_text(json.dumps(facts))


def test_an_adapter_is_described(base: Path, adapter: Path) -> None:
    found = only(adapter.parent)
    assert (found.folder, found.base) == (str(adapter), str(base))
    assert (found.rank, found.targets, found.method) == (4, ("q_proj", "v_proj"), "LORA")
    assert found.size_bytes == (adapter / "adapter_model.safetensors").stat().st_size
    assert (found.fits, found.problem) == (None, "")


def test_a_run_s_adapter_is_found_and_its_checkpoints_are_not(tmp_path: Path, base: Path) -> None:
    make_tiny_adapter(tmp_path / "runs/one/adapter", base)
    make_tiny_adapter(tmp_path / "runs/one/checkpoints/step-2", base)
    assert only(tmp_path / "runs").folder == str(tmp_path / "runs/one/adapter")


def test_weights_tell_whether_it_fits_where_they_are_noted(base: Path, adapter: Path) -> None:
    note_base(adapter, base, model_hash(base))
    assert (only(adapter, base).fits, only(adapter, base).method) == (True, "qlora")
    note_base(adapter, base, "0" * 64)
    found = only(adapter, base)
    assert found.fits is False
    assert "trained on other weights (000000000000…)" in found.problem


def test_shapes_tell_whether_it_fits_where_no_weights_are_noted(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    assert only(adapter, base).fits is True
    weights = load_file(base / "model.safetensors")
    wide = shutil.copytree(base, tmp_path / "wide")
    name = "model.layers.1.self_attn.v_proj.weight"
    save_file(weights | {name: weights[name].repeat(2, 1)}, wide / "model.safetensors")
    assert "v_proj is 64 wide in the base, 32 here" in only(adapter, wide).problem
    del weights[name]
    save_file(weights, wide / "model.safetensors")
    assert only(adapter, wide).problem == "the base has no layer model.layers.1.self_attn.v_proj"


def test_broken_adapters_are_listed_with_the_reason(base: Path, adapter: Path) -> None:
    folder = adapter.parent
    for name in ("cut", "bare", "garbled", "other"):
        shutil.copytree(adapter, folder / name)
    cut = folder / "cut/adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:100])
    (folder / "bare/adapter_config.json").unlink()
    (folder / "garbled/adapter_config.json").write_text("{")
    config = json.loads((folder / "other/adapter_config.json").read_text())
    (folder / "other/adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    found = {Path(each.folder).name: each for each in list_adapters([folder], base)}
    assert set(found) == {"one", "cut", "bare", "garbled", "other"}
    assert found["one"].fits is True
    assert "is damaged" in found["cut"].problem
    assert "has no adapter_config.json" in found["bare"].problem
    assert "cannot be read" in found["garbled"].problem
    assert "no LoRA adapter but IA3" in found["other"].problem
    assert all(found[name].fits is False for name in ("cut", "bare", "garbled", "other"))


def test_folders_come_from_the_command_and_the_environment(
    tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDERS_VARIABLE, raising=False)
    with pytest.raises(ModelError, match=f"set {FOLDERS_VARIABLE}"):
        adapter_folders([])
    monkeypatch.setenv(FOLDERS_VARIABLE, f"{adapter.parent}:{tmp_path}")
    assert adapter_folders([tmp_path]) == [tmp_path, adapter.parent]
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ModelError, match="there is no folder"):
        adapter_folders([])
