"""sentence-transformers in this process: one worker a core, each with batches of its own.

A batch on one core needs no barriers, so that a core that is busy elsewhere holds up nobody;
two cores that share each batch wait for each other hundreds of times in it. Weights are loaded
from safetensors only and no code of a model folder is run.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from data_tools.errors import EmbedderError, reason_of
from retrieval.embedder import Vectors, to_unit
from retrieval.model_files import SAFE_LOADING, hash_prompts, hash_weights, read_window

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Kind = Literal["query", "document"]

BATCH_TOKENS = {"cpu": 1_024, "cuda": 32_768}  # on a CPU, what its second-level cache holds
MAX_WORKERS = 8  # more would wait for Python's lock; further cores are shared out among them
CHARS_PER_TOKEN = 3  # of code; the plan of batches needs no better
MAX_CHARS_PER_TOKEN = 12  # text past the window times this is cut before the tokenizer sees it
PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}
_limiting_threads = threading.Lock()


class SentenceTransformerEmbedder:
    """Any sentence-transformers folder or name, on the GPU if there is one.

    The model is loaded at the first `embed`, in bfloat16 where the processor has it; vectors
    then differ from float32's by a cosine of less than 0.0002, and fingerprints do not.
    """

    def __init__(self, name: str, folder: Path, *, max_tokens: int | None = None) -> None:
        """Check the weights without loading them.

        :param folder: holds `model.safetensors` or its shards.
        :param max_tokens: by default the model's own window.
        :raises EmbedderError: it does not, or the packaged weights are not the expected ones.
        """
        self.name = name
        self.folder = folder
        self.max_tokens = max_tokens or read_window(folder)
        self._loading = threading.Lock()
        self._weights_sha256 = hash_weights(folder)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the token window, and the hash of prompts if there are any."""
        prompts = hash_prompts(self.folder)
        return "-".join(
            filter(None, (self._weights_sha256[:32], str(self.max_tokens), prompts[:8]))
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        dimension = self._loaded.model.get_embedding_dimension()
        if dimension is None:
            raise EmbedderError(f"{self.name} does not say how long its vectors are")
        return int(dimension)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed what is searched; shape (n_texts, dimension), unit length, float32."""
        return self._embed(texts, "document")

    def embed_query(self, text: str) -> Vectors:
        """Embed a question; shape (dimension,), unit length, float32."""
        vector: Vectors = self._embed([text], "query")[0]
        return vector

    def _embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        loaded = self._loaded
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        limit = self.max_tokens * MAX_CHARS_PER_TOKEN
        cut = [text[:limit] for text in texts]
        budget = BATCH_TOKENS.get(loaded.model.device.type, BATCH_TOKENS["cpu"])
        batches = plan_batches([len(text) for text in cut], self.max_tokens, budget)
        jobs = [[cut[row] for row in rows] for rows in batches]
        try:
            for rows, found in zip(batches, loaded.run(jobs, kind), strict=True):
                vectors[rows] = found[:, : vectors.shape[1]]
        except KeyError as error:  # transformers': settings name an attention that there is none
            raise EmbedderError(
                f"cannot run the embedding model {self.name}: {reason_of(error)}; give another "
                "--embedder"
            ) from error
        # Here, not in the model: bfloat16 has too few digits for a length of 1.
        return to_unit(vectors)

    @property
    def _loaded(self) -> "_LoadedModel":
        with self._loading:  # several threads may search at once before it is loaded
            return self._loaded_once

    @cached_property
    def _loaded_once(self) -> "_LoadedModel":
        _stay_offline()
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        from retrieval.packed_linear import pack_linears

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if has_bfloat16(device) else torch.float32
        try:
            model = SentenceTransformer(
                str(self.folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                # Named here, because a folder's own settings may name them too.
                model_kwargs={"dtype": dtype, **SAFE_LOADING},
            )
        except Exception as error:  # the boundary: three libraries read the folder, each in its way
            reason = reason_of(error).rstrip(".")
            raise EmbedderError(
                f"cannot load the embedding model {self.name}: {reason}; give another --embedder"
            ) from error
        model = model.to(dtype).eval()  # some parts are not the transformer's, and were float32
        model.max_seq_length = self.max_tokens
        if device == "cpu":
            pack_linears(model)
        return _LoadedModel(model, _start_workers())


@dataclass(frozen=True)
class _LoadedModel:
    """A model and the threads that run it."""

    model: "SentenceTransformer"
    workers: ThreadPoolExecutor
    tokenizing: threading.Lock = field(default_factory=threading.Lock)

    def run(self, batches: Iterable[Sequence[str]], kind: Kind) -> Iterator[Vectors]:
        """Compute batches side by side; yields shape (n_texts, dimension), in their order."""
        return self.workers.map(lambda texts: self._forward(texts, kind), batches)

    def _forward(self, texts: Sequence[str], kind: Kind) -> Vectors:
        import torch
        from sentence_transformers.util import batch_to_device

        prompts = self.model.prompts
        prompt = next((prompts[name] for name in PROMPTS[kind] if prompts.get(name)), None)
        with self.tokenizing:  # the tokenizer may not be used by two threads at once
            features = self.model.preprocess(list(texts), prompt=prompt, task=kind)
        with torch.inference_mode():
            features = batch_to_device(features, self.model.device)
            found = self.model(features, task=kind)["sentence_embedding"]
            vectors: Vectors = found.float().cpu().numpy()
        return vectors


def plan_batches(lengths: Sequence[int], max_tokens: int, batch_tokens: int) -> list[list[int]]:
    """Group texts of about one length, so that little is padding.

    :param lengths: in characters.
    :param max_tokens: of one text; what is longer is cut.
    :param batch_tokens: of one batch, padding included; one text may have more.
    :return: positions in `lengths`, each once; the longest texts come first.
    """
    tokens = [min(length // CHARS_PER_TOKEN + 1, max_tokens) for length in lengths]
    batches: list[list[int]] = []
    room = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not room:
            batches.append([])
            room = max(batch_tokens // tokens[row], 1)
        batches[-1].append(row)
        room -= 1
    return batches


def _start_workers() -> ThreadPoolExecutor:
    import torch

    cores = torch.get_num_threads()
    workers = min(cores, MAX_WORKERS)
    return ThreadPoolExecutor(
        workers, "embed", initializer=_limit_threads, initargs=(max(cores // workers, 1),)
    )


def _limit_threads(threads: int) -> None:
    """Let PyTorch use so many cores for what this thread asks of it."""
    import torch

    with _limiting_threads:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        # That was also for all threads to come; what another one says is for them alone.
        others = threading.Thread(target=torch.set_num_threads, args=(before,))
        others.start()
        others.join()


def has_bfloat16(device: str) -> bool:
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
