"""`codeqa qa-pairs`: what was mined and written, by kind and split."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands import count, print_json
from data_tools.errors import ConfigError

if TYPE_CHECKING:
    from retrieval.prompt import Message
    from training.qa_datasets import QADatasetReport, QADatasetSettings


def run_qa_pairs(options: argparse.Namespace) -> None:
    """Make the datasets that are asked for, and print what they hold.

    :raises ConfigError: the shares cannot be dealt by.
    :raises CodeQAError: as `training.qa_datasets.make_qa_datasets` does.
    """
    from app.progress import ProgressBar
    from training.qa_datasets import make_qa_datasets

    ask = _open_model(options)
    settings = _settings(options, writes=ask is not None)
    with ProgressBar() as bar:
        made = make_qa_datasets(options.repos, settings, bar, ask=ask, force=options.force)
    if options.json:
        print_json({kind: asdict(report) for kind, report in made.items()})
    else:
        for report in made.values():
            _print_table(report)


def _settings(options: argparse.Namespace, *, writes: bool) -> "QADatasetSettings":
    from data_tools.qa_pairs import MiningSettings
    from data_tools.split import SPLITS, check_shares
    from retrieval.prompt import REFUSAL
    from training.qa_datasets import QADatasetSettings
    from training.raft import RaftSettings
    from training.written_pairs import WritingSettings

    shares = dict(zip(SPLITS, options.shares, strict=True))
    try:
        check_shares(shares)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return QADatasetSettings(
        MiningSettings(
            refusal=REFUSAL,
            kinds=tuple(dict.fromkeys(options.kinds)),
            limit=options.limit,
            seed=options.seed,
            shares=shares,
            commits=options.commits,
        ),
        Path(options.out),
        Path(options.raft) if options.raft else None,
        RaftSettings(options.distractors, options.absent, options.seed),
        Path(options.index) if options.index else None,
        WritingSettings(options.model or options.llm, options.passages, options.top_k, options.seed)
        if writes
        else None,
    )


def _open_model(options: argparse.Namespace) -> "Callable[[list[Message]], str] | None":
    """Open the model that is to write pairs, if one is named."""
    from app.llm import open_chat_model, stream_text

    chat = open_chat_model(options.llm, model=options.model, timeout_s=options.timeout)
    if chat is None:
        return None

    def ask(messages: "list[Message]") -> str:
        from langchain_core.messages import convert_to_messages

        spoken = convert_to_messages([dict(message) for message in messages])
        return "".join(stream_text(chat, spoken))

    return ask


def _print_table(report: "QADatasetReport") -> None:
    if report.up_to_date:
        total = count(sum(report.splits.values()), "pair")
        print(f"{report.folder}: up to date, {report.version}, {total}")
        return
    rows = [("kind", *report.splits)]
    rows += [
        (kind, *(f"{found[split]:,}" for split in report.splits))
        for kind, found in report.kinds.items()
    ]
    rows.append(("all", *(f"{number:,}" for number in report.splits.values())))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *numbers in rows:
        cells = (cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))
        print("  ".join([first.ljust(widths[0]), *cells]))
    for reason, number in report.dropped.items():
        if number:
            print(f"left out: {number:,} for {reason}")
    print(f"{report.folder}: written: {report.version}, {report.refusals:,} of them to be refused")
