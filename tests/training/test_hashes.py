"""A model is known by its weights and its template, whatever else its folder holds."""

import os
import shutil
import time
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from data_tools.errors import ModelError
from tests.tiny_model import make_tiny_adapter, make_tiny_model
from training import hashes
from training.hashes import model_hash, template_hash


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


def change_one_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_copy_has_the_same_hash_and_one_byte_changes_it(tmp_path: Path, model: Path) -> None:
    first = model_hash(model)
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "README.md").write_text("other")
    assert model_hash(copy) == first
    change_one_byte(copy / "model.safetensors")
    assert model_hash(copy) != first


def test_weights_that_were_hashed_are_not_read_again_until_written_to(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model / "model.safetensors"
    long_ago = time.time() - 60
    os.utime(file, (long_ago, long_ago))
    first = model_hash(model)
    read: list[Path] = []

    class Counted:
        def __call__(self, files: list[Path]) -> str:
            read.extend(files)
            return real(files)

    real = hashes._hash_files
    monkeypatch.setattr(hashes, "_hash_files", Counted())
    assert model_hash(model) == first
    assert read == []
    change_one_byte(file)
    os.utime(file, (long_ago + 1, long_ago + 1))
    assert model_hash(model) != first
    assert read == [file]


def test_weights_written_just_now_are_read_again(model: Path) -> None:
    first = model_hash(model)
    stamp = (model / "model.safetensors").stat()
    change_one_byte(model / "model.safetensors")
    os.utime(model / "model.safetensors", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert model_hash(model) != first


def test_an_adapter_has_a_hash_of_its_own(tmp_path: Path, model: Path) -> None:
    adapter = make_tiny_adapter(tmp_path / "adapter", model)
    assert model_hash(adapter) != model_hash(model)


def test_a_folder_without_safetensors_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ModelError, match="no safetensors weights"):
        model_hash(tmp_path)


def test_a_template_s_hash_is_that_of_its_text(tmp_path: Path, model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    first = template_hash(tokenizer)
    tokenizer.save_pretrained(tmp_path / "again")
    assert template_hash(AutoTokenizer.from_pretrained(tmp_path / "again")) == first
    tokenizer.chat_template += " "
    assert template_hash(tokenizer) != first
    tokenizer.chat_template = None
    assert template_hash(tokenizer) is None
