"""The baseline: what a support chatbot of 2023 did, and what many still do.

Windows of 800 characters that overlap by 400, MiniLM in float32 at 256 tokens, exact inner
product. Nothing of `retrieval` is used but the packaged weights.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from data_tools.sources import SourceFile

WINDOW_CHARS = 800
STEP_CHARS = 400
MAX_TOKENS = 256
BATCH_SIZE = 32


@dataclass(frozen=True)
class Baseline:
    """An index in memory.

    :param seconds: what making it took, model loading aside.
    """

    model: SentenceTransformer
    texts: list[str]
    vectors: faiss.Index
    seconds: float

    def search(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """Return the texts of the `k` nearest windows of each question, best first."""
        _, numbers = self.vectors.search(_encode(self.model, questions), k)
        return [[self.texts[number] for number in row] for row in numbers]


def build_baseline(files: Sequence[SourceFile], model_folder: str) -> Baseline:
    """Cut, embed and index `files` as the baseline does."""
    model = SentenceTransformer(model_folder, device="cpu", local_files_only=True)
    model.max_seq_length = MAX_TOKENS
    _encode(model, ["warm up"])
    start = time.perf_counter()
    texts = [
        file.text[offset : offset + WINDOW_CHARS]
        for file in files
        for offset in range(0, max(len(file.text) - STEP_CHARS, 1), STEP_CHARS)
    ]
    matrix = _encode(model, texts)
    vectors = faiss.IndexFlatIP(matrix.shape[1])
    vectors.add(matrix)
    return Baseline(model, texts, vectors, time.perf_counter() - start)


def _encode(model: SentenceTransformer, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    vectors = model.encode(
        list(texts), batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False
    )
    return np.asarray(vectors, dtype=np.float32)
