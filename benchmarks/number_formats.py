"""What the embedding model's number format costs and gains: float32, bfloat16 and int8.

    .venv/bin/python -m benchmarks.number_formats ~/pylint --files 100

Speed in alternating rounds; quality as the cosine with float32's vectors, and as nDCG@10 of files
for developers' questions, by meaning alone, among the files that answer them and others drawn at
random. int8 is PyTorch's dynamic quantisation: weights once, what flows into a layer at each call.
The product chooses among the first two; whether int8 should join them is what this is for.
"""

import argparse
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import numpy as np
from torch import nn

from benchmarks.development import SETS
from data_tools.chunk import Chunk, chunk_file
from data_tools.errors import CodeQAError
from data_tools.sources import SourceFile, open_source
from retrieval import embed_local, packed_linear
from retrieval.embed import Embedder, Vectors, has_bfloat16, open_embedder
from retrieval.evaluate import Evaluation, compare, evaluate
from retrieval.questions import Question
from retrieval.search import Hit
from retrieval.views import embed_chunks

ASKED = next(each for each in SETS if each.name == "pylint")
NDCG = "file_ndcg@10"
REFERENCE = "float32"


def quantise_linears(model: nn.Module) -> None:
    """Replace the linear layers of a float32 model by int8 ones, in place."""
    from torch.ao.quantization import quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is going to be removed; nothing is in its place
        quantize_dynamic(model, {nn.Linear}, inplace=True)


@dataclass
class Measured:
    """One format: a model that is loaded, and what was measured of it."""

    embedder: Embedder
    seconds: list[float] = field(default_factory=list)
    vectors: Vectors | None = None


@contextmanager
def _loading(has_bfloat16: bool, prepare: Callable[[nn.Module], None] | None) -> Iterator[None]:
    """Have models loaded in another format than the product would choose."""
    with patch.object(embed_local, "has_bfloat16", lambda device: has_bfloat16):
        if prepare is None:
            yield
        else:
            with patch.object(packed_linear, "pack_linears", prepare):
                yield


def open_formats() -> dict[str, Embedder]:
    """Load the packaged model once in each format that this machine has; float32 is the first."""
    ways: dict[str, tuple[bool, Callable[[nn.Module], None] | None]] = {REFERENCE: (False, None)}
    if has_bfloat16("cpu"):
        ways["bfloat16"] = (True, None)
    ways["int8"] = (False, quantise_linears)
    formats = {}
    for name, way in ways.items():
        with _loading(*way):
            formats[name] = open_embedder()
            formats[name].embed(["warm up"])
    return formats


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the repository or the model cannot be had."""
    parser = argparse.ArgumentParser(prog="benchmarks.number_formats", description=__doc__)
    parser.add_argument("repository", help=f"{ASKED.repository}: a clone of it, or its URL")
    parser.add_argument("--files", type=int, default=100, help="drawn at random, beside the gold")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    try:
        snapshot = open_source(f"{options.repository}@{ASKED.commit}")
        files = [file for file in snapshot.files() if isinstance(file, SourceFile)]
        formats = {name: Measured(embedder) for name, embedder in open_formats().items()}
    except CodeQAError as error:
        print(f"nothing is measured: {error}", file=sys.stderr)
        return 1
    questions = ASKED.questions(options.repository)
    chunks = [
        chunk for file in _pool(files, questions, options.files) for chunk in chunk_file(file)
    ]
    measure(formats, chunks, options.rounds)
    print_table(formats, chunks, questions)
    return 0


def _pool(
    files: Sequence[SourceFile], questions: Sequence[Question], others: int
) -> list[SourceFile]:
    gold = {path for question in questions for path in question.files}
    rest = [file for file in files if file.path not in gold]
    drawn = random.Random(0).sample(rest, min(others, len(rest)))
    return [file for file in files if file.path in gold] + drawn


def measure(formats: Mapping[str, Measured], chunks: Sequence[Chunk], rounds: int) -> None:
    """Embed the chunks in each format, in turn, so often."""
    for _ in range(rounds):
        for each in formats.values():
            start = time.perf_counter()
            each.vectors = embed_chunks(chunks, each.embedder.embed)
            each.seconds.append(time.perf_counter() - start)


def print_table(
    formats: Mapping[str, Measured], chunks: Sequence[Chunk], questions: Sequence[Question]
) -> None:
    """Print a row a format; starred if nDCG differs from float32's by more than chance."""
    reference = formats[REFERENCE]
    asked = {name: _ask(each, chunks, questions) for name, each in formats.items()}
    print(f"{len(chunks):,} chunks, {len(questions)} questions about {ASKED.name}\n")
    print("| format | chunks a second | times float32 | cosine, mean | cosine, least | nDCG@10 |")
    print("|---|---|---|---|---|---|")
    for name, each in formats.items():
        ratios = [a / b for a, b in zip(reference.seconds, each.seconds, strict=True)]
        cosines = np.einsum("cd,cd->c", _vectors(each), _vectors(reference))
        star = "\\*" if compare(asked[REFERENCE], asked[name], NDCG).is_clear else ""
        print(
            f"| {name} | {len(chunks) / statistics.median(each.seconds):.0f} "
            f"| {statistics.median(ratios):.2f} | {cosines.mean():.4f} | {cosines.min():.4f} "
            f"| {asked[name].mean(NDCG):.3f}{star} |"
        )


def _vectors(each: Measured) -> Vectors:
    assert each.vectors is not None, "measure first"
    return each.vectors


def _ask(each: Measured, chunks: Sequence[Chunk], questions: Sequence[Question]) -> Evaluation:
    vectors = _vectors(each)

    def search(question: str, k: int) -> list[Hit]:
        cosines = vectors @ each.embedder.embed_query(question)
        best = np.argsort(-cosines, kind="stable")[:k]
        return [Hit(float(cosines[row]), chunks[row], None, float(cosines[row])) for row in best]

    return evaluate(questions, search)


if __name__ == "__main__":
    sys.exit(main())
