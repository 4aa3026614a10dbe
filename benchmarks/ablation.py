"""What each part of the ranking is worth: one table, each row with one part changed.

    .venv/bin/python -m benchmarks.ablation
    .venv/bin/python -m benchmarks.ablation --clone composer=~/composer --clone sphinx=~/sphinx
    .venv/bin/python -m benchmarks.ablation --only "as shipped" --only "no names"

Asks the development questions of `benchmarks.development`; repositories are cloned unless a clone
is given. Rows above the line change how an index is searched, rows below how it is made, which
takes minutes each. Parts that were tried and did not pay are rows too: they live here alone.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

from tqdm import tqdm

from benchmarks import variants
from benchmarks.development import SETS, DevelopmentSet
from data_tools.chunk import chunk_file
from data_tools.errors import CodeQAError
from retrieval import CodeIndex, build, lexical, passages, rank, search, views
from retrieval.embed import Embedder, open_embedder
from retrieval.evaluate import Evaluation, compare, evaluate
from retrieval.index import index_repositories
from retrieval.question_kind import WEIGHTS, Kind, Weights
from retrieval.questions import Question
from retrieval.search import SearchMode

SHIPPED = "as shipped"
NAMES = {
    "answer_in_context@1": "top 1",
    "answer_in_context@5": "top 5",
    "file_ndcg@10": "nDCG@10",
    "file_recall@10": "recall@10",
    "line_ndcg@10": "nDCG@10 of lines",
    "line_hit@5": "lines@5",
    "line_hit@10": "lines@10",
}
Change = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Variant:
    """One row: the product with one part changed.

    :param change: makes the change while it is entered.
    :param rebuild: whether the index must be made anew with the change in force.
    :param feedback: whether questions are moved towards what they find first.
    """

    label: str
    change: Change
    mode: SearchMode = "hybrid"
    rebuild: bool = False
    max_tokens: int | None = None
    feedback: bool = False


@contextmanager
def _unchanged() -> Iterator[None]:
    yield


def _replaced(target: object, name: str, value: object) -> Change:
    return lambda: patch.object(target, name, value)


def _weighed(**fields: float) -> Change:
    kinds: tuple[Kind, ...] = tuple(WEIGHTS)
    return lambda: patch.dict(WEIGHTS, dict.fromkeys(kinds, Weights(**fields)))


VARIANTS = (
    Variant(SHIPPED, _unchanged),
    Variant("words alone (BM25)", _unchanged, mode="lexical"),
    Variant("vectors alone", _unchanged, mode="dense"),
    Variant("fused by rank", _replaced(rank, "fuse_scores", variants.fuse_ranks)),
    Variant("one set of weights for every question", _weighed()),
    Variant("… dense 0.3", _weighed(dense=0.3)),
    Variant("… dense 0.7", _weighed(dense=0.7)),
    Variant("no weight by path", _replaced(rank, "path_prior", lambda path, prose: 1.0)),
    Variant("no words that mean the same", _replaced(search, "related_words", lambda text: [])),
    Variant("no symbol field", lambda: patch.dict(lexical.FIELD_WEIGHTS, symbol=0.0)),
    Variant("symbol field 1.0", lambda: patch.dict(lexical.FIELD_WEIGHTS, symbol=1.0)),
    Variant("no path field", lambda: patch.dict(lexical.FIELD_WEIGHTS, path=0.0)),
    Variant("path field 0.5", lambda: patch.dict(lexical.FIELD_WEIGHTS, path=0.5)),
    Variant(
        "not spread over files",
        _replaced(search, "spread_over_files", partial(passages.spread_over_files, decay=1.0)),
    ),
    Variant(
        "neighbours not joined",
        _replaced(search, "join_neighbours", partial(passages.join_neighbours, max_chars=0)),
    ),
    Variant(
        "neighbours joined up to 4,800 characters",
        _replaced(search, "join_neighbours", partial(passages.join_neighbours, max_chars=4_800)),
    ),
    Variant("200 candidates of each", _replaced(search, "CANDIDATES", 200)),
    Variant("+ evidence summed over files", variants.sum_files),
    Variant("+ callers and callees", variants.follow_symbols),
    Variant("+ sentences re-scored", variants.score_sentences),
    Variant("+ pseudo-relevance feedback", _unchanged, feedback=True),
    Variant("no names in the vectors", variants.leave_out_names, rebuild=True),
    Variant(
        "no names in the vectors, vectors alone",
        variants.leave_out_names,
        mode="dense",
        rebuild=True,
    ),
    Variant("no header", _replaced(views, "text_view", lambda chunk: chunk.text), rebuild=True),
    Variant("64 tokens embedded", _unchanged, rebuild=True, max_tokens=64),
    Variant("256 tokens embedded", _unchanged, rebuild=True, max_tokens=256),
    Variant(
        "chunks of 800 characters",
        _replaced(build, "chunk_file", partial(chunk_file, max_chars=800)),
        rebuild=True,
    ),
    Variant(
        "chunks of 2,400 characters",
        _replaced(build, "chunk_file", partial(chunk_file, max_chars=2_400)),
        rebuild=True,
    ),
    Variant(
        "chunks cut at lines, not syntax",
        _replaced(build, "chunk_file", variants.chunk_lines),
        rebuild=True,
    ),
    Variant("words not stemmed, none that mean the same", variants.keep_endings, rebuild=True),
    Variant("identifiers not split", variants.keep_identifiers_whole, rebuild=True),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a repository cannot be had."""
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__)
    parser.add_argument("--clone", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument(
        "--set",
        action="append",
        choices=[each.name for each in SETS],
        help="ask these questions alone; may be given several times",
    )
    parser.add_argument("--only", action="append", metavar="LABEL", help="these rows alone")
    parser.add_argument(
        "--no-rebuild", action="store_true", help="leave out rows that make indexes anew"
    )
    options = parser.parse_args(arguments)
    clones = dict(text.split("=", 1) for text in options.clone)
    chosen = [
        variant
        for variant in VARIANTS
        if (variant.label == SHIPPED or not options.only or variant.label in options.only)
        and not (options.no_rebuild and variant.rebuild)
    ]
    try:
        with tempfile.TemporaryDirectory() as folder:
            sets = [each for each in SETS if not options.set or each.name in options.set]
            print_table(chosen, sets, clones, Path(folder))
    except CodeQAError as error:
        print(f"nothing is measured: {error}; see --clone", file=sys.stderr)
        return 1
    return 0


def print_table(
    chosen: Sequence[Variant],
    sets: Sequence[DevelopmentSet],
    clones: Mapping[str, str],
    folder: Path,
) -> None:
    """Print one row for each variant, the shipped product first.

    :param clones: name of a repository, without its owner → a clone of it.
    :param folder: where indexes are made.
    :raises CodeQAError: a repository cannot be had.
    """
    where = {each: clones.get(each.repository.split("/")[-1], each.url) for each in sets}
    questions = {each: each.questions(where[each]) for each in sets}
    specs = {each: f"{where[each]}@{each.commit}" for each in sets}
    embedder = open_embedder()
    shipped: dict[DevelopmentSet, Evaluation] = {}
    _print_head(questions)
    for variant in tqdm(chosen, unit=" rows", disable=None):
        with variant.change():
            model = open_embedder(max_tokens=variant.max_tokens) if variant.max_tokens else embedder
            place = folder / ("changed" if variant.rebuild else "shipped")
            for spec in dict.fromkeys(specs.values()):
                if variant.rebuild:
                    _keep_embeddings(folder / "shipped" / _name(spec), place / _name(spec))
                index_repositories([spec], place / _name(spec), embedder=model)
            found = {
                each: _ask(place / _name(specs[each]), questions[each], model, variant)
                for each in sets
            }
        if variant.label == SHIPPED:
            shipped = found
        _print_row(variant.label, found, shipped)
        if variant.rebuild:
            shutil.rmtree(place)


def _name(spec: str) -> str:
    return spec.rsplit("@", 1)[1][:12]


def _keep_embeddings(old: Path, new: Path) -> None:
    """Let texts that a change leaves as they are keep their vectors."""
    new.mkdir(parents=True)
    shutil.copy(old / build.EMBEDDINGS, new)


def _ask(
    folder: Path, questions: Sequence[Question], embedder: Embedder, variant: Variant
) -> Evaluation:
    with CodeIndex.open(folder, embedder=embedder) as index:
        asked = index
        if variant.feedback:
            asked = CodeIndex.open(folder, embedder=variants.FeedbackEmbedder(index, embedder))
        return evaluate(questions, lambda text, k: asked.search(text, k, mode=variant.mode))


def _print_head(questions: dict[DevelopmentSet, list[Question]]) -> None:
    columns = [
        f"{each.name} ({len(asked)}) {NAMES[metric]}"
        for each, asked in questions.items()
        for metric in each.headline
    ]
    print(f"| changed | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")


def _print_row(
    label: str,
    found: dict[DevelopmentSet, Evaluation],
    shipped: dict[DevelopmentSet, Evaluation],
) -> None:
    """Print means; starred if the 95 % interval of the difference to `shipped` leaves out 0."""
    cells = []
    for each, evaluation in found.items():
        for metric in each.headline:
            star = "\\*" if compare(shipped[each], evaluation, metric).is_clear else ""
            cells.append(f"{evaluation.mean(metric):.3f}{star}")
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
