"""`codeqa tokenizer`, `codeqa convert` and `codeqa datasets`: what was made of it, on stdout."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands import count, print_json

if TYPE_CHECKING:
    from data_tools.convert import ConvertReport, ConvertSettings


def run_tokenizer(options: argparse.Namespace) -> None:
    """Train a tokenizer on flattened text."""
    from app.progress import ProgressBar
    from data_tools.documents import open_corpus
    from data_tools.tokenizer import load_tokenizer, make_tokenizer, tokenizer_hash

    folder = Path(options.out)
    with ProgressBar() as bar:
        corpus = open_corpus("txt", options.corpus, report=bar)
        bar.say(f"learning {options.vocab_size:,} tokens from {_megabytes(corpus.bytes)}")
        written = make_tokenizer(corpus, folder, options.vocab_size, force=options.force)
    tokenizer = load_tokenizer(options.out)
    digest = tokenizer_hash(tokenizer)[:12]
    state = "written" if written else "up to date"
    print(f"{folder}: {state}, {count(len(tokenizer), 'token')}, hash {digest}")


def run_convert(options: argparse.Namespace) -> None:
    """Write MDS shards, and print how much of each split."""
    from app.progress import ProgressBar
    from data_tools.convert import convert
    from data_tools.documents import open_corpus

    settings = _settings(options)
    with ProgressBar() as bar:
        corpus = open_corpus(
            options.form, options.sources, source_tokenizer=options.source_tokenizer, report=bar
        )
        report = convert(
            corpus,
            options.out,
            settings,
            name=options.name or Path(options.out).absolute().name,
            engine=options.engine,
            master=options.master,
            force=options.force,
            report=bar,
        )
    if options.json:
        splits = {split: counts.model_dump() for split, counts in report.splits.items()}
        print_json({**asdict(report), "splits": splits})
    else:
        _print_report(report, options.concat_tokens)


def _settings(options: argparse.Namespace) -> "ConvertSettings":
    from data_tools.convert import ConvertSettings
    from data_tools.errors import ConfigError
    from data_tools.split import SPLITS, check_shares

    settings = ConvertSettings(
        tokenizer=options.tokenizer,
        concat_tokens=options.concat_tokens,
        bos_text=options.bos_text,
        eos_text=options.eos_text,
        wrap=options.wrap,
        compression=None if options.compression == "none" else options.compression,
        hashes=tuple(sorted(set(options.hashes))),
        shares=dict(zip(SPLITS, options.shares, strict=True)),
        seed=options.seed,
    )
    try:
        check_shares(settings.shares)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return settings


def _print_report(report: "ConvertReport", concat_tokens: int) -> None:
    state = "up to date" if report.up_to_date else "written"
    print(f"{report.location}: {state}: {report.version}")
    for split, counts in report.splits.items():
        windows = f"{count(counts.samples, 'window')} of {concat_tokens:,} tokens"
        of = f"{count(counts.documents, 'document')} of {_megabytes(counts.bytes)}"
        print(f"  {split}: {windows}, {counts.tokens:,} tokens in all, from {of}")
    if alike := sum(counts.near_duplicates for counts in report.splits.values()):
        near = count(alike, "near-duplicate document")
        print(f"  {near}, each in the same split as those it is like")


def run_datasets(options: argparse.Namespace) -> None:
    """List versions, or fetch and check one."""
    from data_tools.dataset import resolve, verify, versions

    if options.reference:
        folder = resolve(options.reference)
        manifest = verify(folder)
        print(f"{folder}: {manifest.version}, {count(len(manifest.files), 'file')}, all as written")
        return
    for entry in versions():
        if options.json:
            print_json(entry.model_dump())
        else:
            print(f"{entry.version}  {entry.kind}  {entry.created_at}  {entry.location}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
