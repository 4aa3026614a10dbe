"""The grammar of the commands that make datasets of tokens, in the order they are run."""

import argparse
import math

from app.cli_options import Commands, add_command, positive, seed

_CORPUS_HELP = "folder that `codeqa flatten` wrote, or a folder of .txt files"


def add_tokenizer(commands: Commands) -> None:
    """Add `tokenizer`."""
    parser = add_command(
        commands,
        "tokenizer",
        "Make a tokenizer from flattened text: byte-level BPE with ChatML.",
        "codeqa tokenizer corpus/ --out tokenizer/ --vocab-size 4096",
        module="app.converting",
    )
    parser.add_argument("corpus", nargs="+", metavar="CORPUS", help=_CORPUS_HELP)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the tokenizer")
    parser.add_argument(
        "--vocab-size",
        type=vocabulary,
        default=4096,
        metavar="N",
        help="tokens, special ones included (default: %(default)s)",
    )
    _add_force(parser)


def add_convert(commands: Commands) -> None:
    """Add `convert`."""
    parser = add_command(
        commands,
        "convert",
        "Convert text, JSONL or MDS to MDS shards of tokens, dealt to train, validation and test.",
        "codeqa convert txt corpus/ --out shards/ --tokenizer tokenizer/ --concat-tokens 1024",
        module="app.converting",
    )
    parser.add_argument(
        "form",
        choices=("txt", "jsonl", "mds"),
        help="what SOURCE is: flattened text; rows of prompt and response, context and "
        "continuation, text, or CoQA's conversations; MDS of text or tokens",
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder, file or URL")
    parser.add_argument(
        "--out", required=True, metavar="OUT", help="folder, or s3://BUCKET/PATH, gs://BUCKET/PATH"
    )
    parser.add_argument(
        "--tokenizer", required=True, metavar="NAME", help="Hugging Face folder or name"
    )
    parser.add_argument(
        "--source-tokenizer",
        metavar="NAME",
        help="for mds: the tokenizer of its tokens, where the dataset does not say",
    )
    _add_windows(parser)
    _add_shards(parser)
    _add_splits(parser)
    parser.add_argument("--name", help="of the dataset (default: the last part of OUT)")
    parser.add_argument(
        "--engine",
        choices=("local", "spark"),
        default="local",
        help="where the work is done (default: %(default)s)",
    )
    parser.add_argument(
        "--master",
        metavar="URL",
        default="local[*]",
        help="for spark: the cluster (default: %(default)s, this machine)",
    )
    _add_force(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_datasets(commands: Commands) -> None:
    """Add `datasets`."""
    parser = add_command(
        commands,
        "datasets",
        "List the versions of datasets made here; with one given, check it, fetched if need be.",
        "codeqa datasets composer@3f2a9c41d07b",
        module="app.converting",
    )
    parser.add_argument(
        "reference", nargs="?", metavar="DATASET", help="folder, URL, NAME or NAME@HASH"
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines")


def _add_windows(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--concat-tokens",
        type=positive,
        default=2048,
        metavar="N",
        help="tokens of a sample (default: %(default)s)",
    )
    parser.add_argument(
        "--bos-text", default="", metavar="TEXT", help="text before each document (default: none)"
    )
    parser.add_argument(
        "--eos-text", metavar="TEXT", help="text after each (default: the tokenizer's own end)"
    )
    parser.add_argument(
        "--no-wrap",
        dest="wrap",
        action="store_false",
        help="begin each document in a new sample instead of running on",
    )


def _add_shards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compression",
        default="zstd",
        metavar="NAME[:LEVEL]",
        help="of shards: zstd, gz, br, bz2, snappy or none (default: %(default)s)",
    )
    parser.add_argument(
        "--hashes",
        nargs="*",
        default=["sha1", "xxh64"],
        metavar="NAME",
        help="of shards, noted in their index (default: sha1 xxh64)",
    )


def _add_splits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shares",
        nargs=3,
        type=part_of_one,
        default=[0.9, 0.05, 0.05],
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="of the documents, for each split (default: 0.9 0.05 0.05)",
    )
    parser.add_argument(
        "--seed", type=seed, default=17, metavar="N", help="of the split (default: %(default)s)"
    )


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--force", action="store_true", help="make it again even if it is up to date"
    )


def vocabulary(text: str) -> int:
    """Read a size of a vocabulary: every byte and the special tokens have to go into it."""
    if not text.isdecimal() or int(text) < 512:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 512, not {text}")
    return int(text)


def part_of_one(text: str) -> float:
    """Read a share, 1 included."""
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, not {text}")
    return share
