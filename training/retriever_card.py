"""What a tuned model's folder says of itself: how it came about, on what, and how good it is.

`codeqa-tuning.json` holds everything for programs, `README.md` the same for people, in the form
of a Hugging Face model card.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import git

from data_tools.git_commands import open_git
from data_tools.sources import Repository
from retrieval.embed import DEFAULT_EMBEDDER
from training.retriever_data import DataSettings
from training.retriever_pace import FitSettings
from training.retriever_report import Row

TUNING = "codeqa-tuning.json"
CARD = "README.md"


@dataclass(frozen=True)
class TuningSettings:
    """All that shapes a tuned model, but the repositories.

    :param embedder: the base model, as `open_embedder` takes it.
    :param alphas: shares of the tuned weights tried in the mixture with the base's.
    """

    embedder: str = DEFAULT_EMBEDDER
    data: DataSettings = field(default_factory=DataSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    alphas: tuple[float, ...] = (0.5, 0.75, 1.0)


@dataclass(frozen=True)
class TuningReport:
    """What was tuned, on what, and how good it is.

    :param examples: kind → examples trained on.
    :param mined: kind → pairs mined; `filtered`: those of them the base model could not find.
    :param steps: batches trained on.
    :param alpha: share of the tuned weights in the model.
    :param validation: share → dense nDCG@10 by which it was chosen.
    :param rows: both models on held-out files.
    :param better: whether the tuned model may replace the base.
    """

    folder: str
    settings: TuningSettings
    repositories: tuple[Repository, ...]
    codeqa_commit: str | None
    mined: Mapping[str, int]
    filtered: Mapping[str, int]
    examples: Mapping[str, int]
    steps: int
    alpha: float
    validation: Mapping[float, float]
    rows: tuple[Row, ...]
    better: bool


def write_card(folder: Path, report: TuningReport) -> None:
    """Write `codeqa-tuning.json` and `README.md` into a model's folder."""
    text = json.dumps(asdict(report), indent=1, ensure_ascii=False)
    (folder / TUNING).write_text(text + "\n", "utf-8")
    (folder / CARD).write_text(_describe(report), "utf-8")


def _describe(report: TuningReport) -> str:
    repositories = "\n".join(
        f"- {each.web_url or each.name} at `{each.commit}`" for each in report.repositories
    )
    kinds = "\n".join(
        f"| {kind} | {mined:,} | {report.examples.get(kind, 0):,} "
        f"| {report.filtered.get(kind, 0):,} |"
        for kind, mined in report.mined.items()
    )
    figures = "\n".join(
        f"| {row.repo} | {row.mode} | {row.metric} | {row.questions:,} | {row.base:.3f} "
        f"| {row.tuned:.3f} | {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}] |"
        for row in report.rows
    )
    verdict = (
        "It finds more than its base."
        if report.better
        else "It is NOT better than its base; it was written because that was asked for."
    )
    return f"""---
library_name: sentence-transformers
tags: [sentence-transformers, code-search, codeqa]
---

# {Path(report.folder).name}

`{report.settings.embedder}`, tuned by `codeqa tune-retriever` to find code of:

{repositories}

{verdict} Use it with `codeqa index REPO --embedder THIS_FOLDER`.

## Figures

On questions of files that it was not trained on; the last column is the difference with its 95 %
interval (paired bootstrap).

| repository | search | metric | questions | base | tuned | difference |
|---|---|---|---|---|---|---|
{figures}

## Training

| questions made of | mined | trained on | left out: the base finds nothing near |
|---|---|---|---|
{kinds}

{report.steps:,} steps of {report.settings.fit.batch_size} examples; then {report.alpha:.0%} of the
tuned weights mixed with {1 - report.alpha:.0%} of the base's. Everything else is in `{TUNING}`.
"""


def own_commit() -> str | None:
    """Return the commit of codeqa itself, where it runs from a repository."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(git.GitError), open_git(root) as command:
        return str(command.rev_parse("HEAD"))
    return None
