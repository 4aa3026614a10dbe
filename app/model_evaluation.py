"""`codeqa eval model`: how good a language model is, and how much better than its base.

What is measured, and how, is in `training.evaluate_model`; here the material is opened, and the
result is shown and written. See docs/evaluation_of_models.md.
"""

import argparse
import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands import print_json
from app.evaluation import write_whole
from app.table import print_table
from data_tools.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from retrieval.index import CodeIndex
    from training.answering import AnsweringModel
    from training.evaluate_model import Material, ModelEvaluation
    from training.evaluation_questions import Asked, Finder

DIGITS = 6
SAMPLED_CHUNKS = 40  # of an index, to see how many tokens its passages take


def run_eval_model(options: argparse.Namespace) -> None:
    """Measure, print, and write what was asked for.

    :raises CodeQAError: the options, a model or the material cannot be used.
    """
    from app.progress import ProgressBar
    from training.evaluate_model import evaluate_models
    from training.model import quiet_libraries

    _check(options)
    quiet_libraries()
    tuned, base = _open_models(options)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(ProgressBar())
        material = _open_material(options, [tuned, base] if base else [tuned], stack)
        evaluation = evaluate_models(tuned, base, material, report=bar, fresh=options.fresh)
    if options.lm_eval:
        evaluation = _add_harness(evaluation, tuned, base, options)
    described = describe(evaluation)
    if options.out:
        write_whole(Path(options.out), [json.dumps(described, indent=2).encode() + b"\n"])
    if options.plot:
        from app.context_picture import draw_contexts

        write_whole(Path(options.plot), [draw_contexts(described, Path(options.plot).suffix[1:])])
    if options.json:
        print_json(described)
    else:
        _print(described)


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is loaded."""
    if bool(options.tuned) == bool(options.url):
        raise ConfigError("give either MODEL, a folder or name, or --url, the address of a server")
    if options.url and (options.adapter or options.lm_eval):
        raise ConfigError("--adapter and --lm-eval need a model in this process, not --url")
    if options.model and not options.url:
        raise ConfigError("--model chooses among a server's models; give its --url too")
    if bool(options.corpus) != bool(options.dataset):
        raise ConfigError("--corpus and --dataset go together: the texts, and what was held out")
    if not any(
        (options.dataset, options.replay, options.pairs, options.questions, options.lm_eval)
    ):
        raise ConfigError(
            "nothing to measure: give --pairs, --corpus with --dataset, --replay, --questions "
            "or --lm-eval"
        )
    if options.plot and not options.pairs:
        raise ConfigError("--plot draws answers to pairs in four contexts; give --pairs too")
    for file in (options.out, options.plot):
        if file and not Path(file).parent.is_dir():
            raise StorageError(f"there is no folder {Path(file).parent}; make it first")


def _open_models(
    options: argparse.Namespace,
) -> "tuple[AnsweringModel, AnsweringModel | None]":
    """Find the model and its base; weights are loaded when they are needed."""
    from training.bits_per_byte import LONGEST_WINDOW_TOKENS
    from training.local_model import LocalModel
    from training.served_model import ServedModel

    longest = options.max_tokens
    if options.url:
        served = ServedModel(options.url, options.model, max_tokens=longest)
        if not options.base:
            return served, None
        return served, ServedModel(options.url, options.base, max_tokens=longest)
    window = _trained_window(options.dataset) or LONGEST_WINDOW_TOKENS
    tuned = LocalModel(options.tuned, options.adapter, max_tokens=longest, window=window)
    base = options.base or (options.tuned if options.adapter else None)
    return tuned, LocalModel(base, max_tokens=longest, window=window) if base else None


def _trained_window(dataset: str | None) -> int | None:
    """Read how long the windows are that a dataset trains on."""
    from data_tools.dataset import read_manifest, resolve

    if not dataset:
        return None
    tokens = read_manifest(resolve(dataset)).settings.get("concat_tokens")
    return tokens if isinstance(tokens, int) else None


def _open_material(
    options: argparse.Namespace,
    models: "Sequence[AnsweringModel]",
    stack: contextlib.ExitStack,
) -> "Material":
    from data_tools.dataset import resolve
    from retrieval.index import CodeIndex
    from training.evaluate_model import Material
    from training.evaluation_questions import ask_pairs, ask_questions, read_pairs, sample
    from training.evaluation_texts import open_held_out, open_replay

    held_out, replay = None, []
    asked: dict[str, list[Asked]] = {}
    limit, split = options.limit, options.split
    if options.dataset:
        held_out = open_held_out(Path(options.corpus), resolve(options.dataset), split)
        names = [document.path for document in held_out.held_out]
        held_out = replace(held_out, held_out=tuple(sample(held_out.held_out, limit, names)))
    if options.replay:
        documents = open_replay(Path(options.replay), split)
        replay = sample(documents, limit, [document.path for document in documents])
    finder = None
    if options.index and (options.pairs or options.questions):
        finder = _make_finder(stack.enter_context(CodeIndex.open(options.index)), models)
    if options.pairs:
        pairs = read_pairs(resolve(options.pairs), split)
        asked |= ask_pairs(sample(pairs, limit, [pair.id for pair in pairs]), finder)
    if options.questions:
        asked |= ask_questions([Path(file) for file in options.questions], finder, limit)
    return Material(held_out, replay, asked)


def _make_finder(index: "CodeIndex", models: "Sequence[AnsweringModel]") -> "Finder":
    """Take from the index no more than the smallest context has room for."""
    from training.evaluation_questions import Finder
    from training.local_model import LocalModel

    chunks = index.chunks()
    some = chunks[:: max(len(chunks) // SAMPLED_CHUNKS, 1)]
    rooms = [model.room_for(some) for model in models if isinstance(model, LocalModel)]
    return Finder(index, min(rooms)) if rooms else Finder(index)


def _add_harness(
    evaluation: "ModelEvaluation",
    tuned: "AnsweringModel",
    base: "AnsweringModel | None",
    options: argparse.Namespace,
) -> "ModelEvaluation":
    from training.harness import run_harness
    from training.local_model import LocalModel

    assert isinstance(tuned, LocalModel) and (base is None or isinstance(base, LocalModel))
    rows = run_harness(tuned, base, options.lm_eval.split(","), options.limit)
    return replace(evaluation, rows=(*evaluation.rows, *rows))


def describe(evaluation: "ModelEvaluation") -> dict[str, Any]:
    """Write an evaluation as JSON values, as `--json` prints it and `--out` keeps it."""
    described = asdict(evaluation)
    described["rows"] = [
        {key: _rounded(value) for key, value in row.items()} for row in described["rows"]
    ]
    return described


def _rounded(value: object) -> object:
    if isinstance(value, tuple):
        return [_rounded(part) for part in value]
    return round(value, DIGITS) + 0.0 if isinstance(value, float) else value


def _print(described: dict[str, Any]) -> None:
    """Print one row a metric: both models, the difference and its 95 % interval."""
    base = described["base"]
    print(f"model: {described['model']}" + (f"; base: {base}" if base else ""))
    head = ["part", "metric", "n", *(["base", "tuned"] if base else ["model"])]
    rows = [[*head, "difference, 95 % interval" if base else "95 % interval"]]
    for row in described["rows"]:
        figures = [row["base"], row["tuned"]] if base else [row["tuned"]]
        cells = [row["part"], row["metric"], f"{row['n']:,}", *map(_write_figure, figures)]
        rows.append([*cells, _write_interval(row) if base else _write_bounds(row)])
    print_table(rows)
    if base:
        print("* clear of 0 (paired bootstrap); bits per byte are better lower, the rest higher")
    for part, left_out in described["left_out"].items():
        print(f"{part}: {left_out:,} left out, too long for a model's context")
    for note in described["notes"]:
        print(note)


def _write_figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _write_interval(row: dict[str, Any]) -> str:
    difference, low, high = row["difference"], row["low"], row["high"]
    if difference is None or low is None:
        return "–"
    star = "*" if low > 0 or high < 0 else ""
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]{star}"


def _write_bounds(row: dict[str, Any]) -> str:
    bounds = row["tuned_interval"]
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else "–"
