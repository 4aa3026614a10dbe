"""What identifies a model: its weights, and the template it is spoken to with.

An adapter fits only the weights it was trained on, and a tuned model only answers as it was taught
when it is spoken to in the words of its training; both are told by comparing these hashes. Only
safetensors count as weights; nothing is loaded.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.clone import cache_folder
from data_tools.errors import ModelError
from retrieval.stamps import SETTLED_S, file_stamp, read_stamps, write_stamps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BLOCK_BYTES = 1 << 20


def weight_files(folder: Path) -> list[Path]:
    """List a model's or an adapter's files of weights; none, if it has none in safetensors."""
    named = sorted(folder.glob("model*.safetensors"))
    return named or sorted(folder.glob("*.safetensors"))


def model_hash(folder: Path) -> str:
    """Hash the weights of a model or an adapter; SHA-256 over its files' names and bytes.

    A folder that was hashed before and not written to since is not read again.

    :raises ModelError: it holds no safetensors, or they cannot be read.
    """
    files = weight_files(folder)
    if not files:
        raise ModelError(
            f"{folder} holds no safetensors weights: give a model's own folder, or save the model "
            "anew with `save_pretrained`"
        )
    try:
        stamps = {file.name: file_stamp(file) for file in files}
        key = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
        known_file = cache_folder() / "model_hashes" / f"{key[:32]}.json"
        known = read_stamps(known_file)
        if known.get("stamps") == stamps and isinstance(known.get("hash"), str):
            return str(known["hash"])
        result = _hash_files(files)
        newest_s = max(file.stat().st_mtime for file in files)
    except OSError as error:
        raise ModelError(
            f"the weights in {folder} cannot be read ({error.strerror}); check the folder"
        ) from error
    if newest_s + SETTLED_S < time.time():
        _remember(known_file, {"stamps": stamps, "hash": result})
    return result


def template_hash(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """Hash a tokenizer's chat template; SHA-256 as hex digits, None where it has no template."""
    template = tokenizer.chat_template
    if not template:
        return None
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _hash_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _remember(file: Path, facts: dict[str, object]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError:  # a cache that cannot be written is no reason to fail
        return
    write_stamps(file, facts)
