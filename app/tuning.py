"""`codeqa tune-retriever`: both embedding models side by side, and where the better one is."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands import count, print_json

if TYPE_CHECKING:
    from training.retriever_card import TuningReport


def run_tune_retriever(options: argparse.Namespace) -> None:
    """Tune, and print what came of it."""
    from app.progress import ProgressBar
    from training.retriever import tune_retriever
    from training.retriever_card import TuningSettings
    from training.retriever_data import DataSettings
    from training.retriever_pace import FitSettings

    settings = TuningSettings(
        embedder=options.embedder,
        data=DataSettings(seed=options.seed),
        fit=FitSettings(seed=options.seed, minutes=options.minutes),
    )
    with ProgressBar() as bar:
        report = tune_retriever(
            options.repos, Path(options.out), settings, force=options.force, report=bar
        )
    if options.json:
        print_json(asdict(report))
    else:
        _print_table(report)


def _print_table(report: "TuningReport") -> None:
    rows = [("repository", "search", "metric", "n", "base", "tuned", "difference, 95 % interval")]
    for row in report.rows:
        star = "*" if row.low > 0 or row.high < 0 else ""
        interval = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]{star}"
        figures = (f"{row.questions:,}", f"{row.base:.3f}", f"{row.tuned:.3f}", interval)
        rows.append((row.repo, row.mode, row.metric, *figures))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip())
    print("* clear of 0; questions of files that were not trained on")
    trained = count(sum(report.examples.values()), "example")
    print(
        f"{report.folder}: written, tuned on {trained} in {count(report.steps, 'step')}; "
        f"use it with `codeqa index REPO --embedder {report.folder}`"
    )
