"""A tuned and a base model mixed, weight by weight: what was learnt, without what was forgotten.

Interpolation of weights after Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT),
CVPR 2022, arXiv:2109.01903. How much of the tuned model to take is chosen on files that are not
trained on, and not among those of the final report either.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_tools.chunk import Chunk
from data_tools.progress import Progress, ReportProgress
from data_tools.storage import storage_errors
from retrieval.embed import Embedder, SentenceTransformerEmbedder, open_embedder
from retrieval.metrics import ndcg
from retrieval.questions import Question
from retrieval.views import embed_chunks, hash_views
from training.retriever_fit import open_model

RANK = 10
POOL_CHUNKS = 1_000  # of a repository, beside those of the files that answer


@dataclass(frozen=True)
class Mixture:
    """What was tried, and what is best.

    :param alpha: share of the tuned model, in (0, 1].
    :param scores: share → dense nDCG@10 by file on the validation questions; 0 is the base.
    """

    alpha: float
    scores: Mapping[float, float]


@dataclass(frozen=True)
class Pool:
    """Questions of one repository and the chunks among which their answers are sought."""

    questions: tuple[Question, ...]
    chunks: tuple[Chunk, ...]


def make_pool(questions: Sequence[Question], chunks: Sequence[Chunk]) -> Pool:
    """Take the chunks of the files that answer, and others at random, the same in every run."""
    gold = {path for question in questions for path in question.files}
    others = sorted(
        (chunk for chunk in chunks if chunk.path not in gold),
        key=lambda chunk: hash_views(chunk),
    )
    answering = [chunk for chunk in chunks if chunk.path in gold]
    return Pool(tuple(questions), (*answering, *others[:POOL_CHUNKS]))


def choose_mixture(
    base: SentenceTransformerEmbedder,
    tuned: Path,
    pools: Sequence[Pool],
    alphas: Sequence[float],
    out: Path,
    report: ReportProgress,
) -> Mixture:
    """Write the best mixture of a model and what it was tuned to, a folder, to `out`.

    Of two that are equally good, the one nearer to the base.

    :param alphas: shares of the tuned model to try, each in (0, 1].
    :raises StorageError: `out` is full or not writable.
    """
    scores = {0.0: score(base, pools)}
    for done, alpha in enumerate(sorted(alphas), start=1):
        mix_models(base, tuned, alpha, out)
        scores[alpha] = score(open_embedder(str(out)), pools)
        report(Progress("mix", done, len(alphas)))
    best = max(sorted(alphas), key=lambda alpha: scores[alpha])  # the first of equals
    mix_models(base, tuned, best, out)
    return Mixture(best, scores)


def mix_models(base: SentenceTransformerEmbedder, tuned: Path, alpha: float, out: Path) -> None:
    """Write the model `(1 - alpha) * base + alpha * tuned`, replacing `out`.

    :raises StorageError: `out` is full or not writable.
    """
    import torch

    model = open_model(tuned, base.max_tokens)
    base_weights = open_model(base.folder, base.max_tokens).state_dict()
    mixed = {
        name: torch.lerp(base_weights[name], weight, alpha)
        if weight.is_floating_point()
        else weight
        for name, weight in model.state_dict().items()
    }
    model.load_state_dict(mixed)
    with storage_errors(out):
        shutil.rmtree(out, ignore_errors=True)
        model.save(str(out), create_model_card=False)


def score(embedder: Embedder, pools: Sequence[Pool]) -> float:
    """Return the mean nDCG@10 by file of all questions, by cosine alone."""
    values = [
        ndcg([float(path in question.files) for path in ranked], [1.0] * len(question.files), RANK)
        for pool in pools
        for question, ranked in zip(pool.questions, _rank_files(embedder, pool), strict=True)
    ]
    return float(np.mean(values))


def _rank_files(embedder: Embedder, pool: Pool) -> list[list[str]]:
    """Rank the files of a pool for each of its questions, by their best chunks."""
    vectors = embed_chunks(pool.chunks, embedder.embed)
    queries = np.stack([embedder.embed_query(question.query) for question in pool.questions])
    cosines = queries @ vectors.T  # (n_questions, n_chunks)
    return [
        list(dict.fromkeys(pool.chunks[at].path for at in np.argsort(-row, kind="stable")))
        for row in cosines
    ]
