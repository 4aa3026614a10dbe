"""The grammar of the tuning pipeline's commands, in the order they are run."""

import argparse

from app.cli_data import part_of_one
from app.cli_options import (
    Commands,
    add_command,
    add_model_options,
    add_repositories,
    count,
    positive,
    seconds,
    seed,
    share,
)

QA_KINDS = (
    "docstring", "lookup", "signature", "parameter", "definition", "subclass", "call", "raise",
    "howto", "why", "test", "option", "absent",
)  # fmt: skip


def add_qa_pairs(commands: Commands) -> None:
    """Add `qa-pairs`."""
    parser = add_command(
        commands,
        "qa-pairs",
        "Mine question-answer pairs from repositories, each with the lines that prove it.",
        "codeqa qa-pairs . --out pairs/ --raft raft/ --index index/",
        module="app.qa_pairs",
    )
    add_repositories(parser, "+")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the pairs")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=QA_KINDS,
        default=QA_KINDS,
        metavar="KIND",
        help=f"what is asked about: {', '.join(QA_KINDS)} (default: all)",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="longest dataset, evenly of all kinds"
    )
    parser.add_argument(
        "--commits",
        type=count,
        default=500,
        metavar="N",
        help="how many of the newest commits are asked about (default: %(default)s)",
    )
    parser.add_argument(
        "--shares",
        nargs=3,
        type=part_of_one,
        default=[0.9, 0.05, 0.05],
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="of the files, for each split (default: 0.9 0.05 0.05)",
    )
    parser.add_argument(
        "--seed", type=seed, default=17, metavar="N", help="of all chance (default: %(default)s)"
    )
    _add_raft(parser)
    _add_writing(parser)
    parser.add_argument(
        "--force", action="store_true", help="make them again even if they are up to date"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_raft(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--raft",
        metavar="DIR",
        help="folder for the same pairs with passages to answer from, as the chat will ask them",
    )
    parser.add_argument(
        "--index",
        metavar="DIR",
        help="index of the same repositories, for the passages (default: one is made for the time)",
    )
    parser.add_argument(
        "--distractors",
        type=count,
        default=4,
        metavar="N",
        help="wrong passages beside the right one (default: %(default)s)",
    )
    parser.add_argument(
        "--absent",
        type=share,
        default=0.2,
        metavar="SHARE",
        help="of the questions lack their passage, and are to be refused (default: %(default)s)",
    )


def _add_writing(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument(
        "--passages",
        type=positive,
        default=200,
        metavar="N",
        help="shown to the language model, to write pairs from (default: %(default)s)",
    )
    parser.add_argument(
        "--top-k",
        type=positive,
        default=8,
        metavar="N",
        help="what it asks must find its passage among so many (default: %(default)s)",
    )


def add_tune_retriever(commands: Commands) -> None:
    """Add `tune-retriever`."""
    parser = add_command(
        commands,
        "tune-retriever",
        "Tune the embedding model on repositories, and write it if it finds more than before.",
        "codeqa tune-retriever https://github.com/mosaicml/composer --out models/composer",
        module="app.tuning",
    )
    add_repositories(parser, "+")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="new folder for the model; see --embedder"
    )
    parser.add_argument(
        "--embedder",
        metavar="MODEL",
        default="all-MiniLM-L6-v2",
        help="model to start from: a sentence-transformers folder or name (default: the packaged "
        "%(default)s)",
    )
    parser.add_argument(
        "--minutes",
        metavar="N",
        type=seconds,
        default=15.0,
        help="longest time for the training itself (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of all chance (default: %(default)s)"
    )
    parser.add_argument(
        "--force", action="store_true", help="write the model even if it is not better"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_run(commands: Commands) -> None:
    """Add `run`."""
    parser = add_command(
        commands,
        "run",
        "Run a job file here, or write it as a SkyPilot task.",
        "codeqa run -f mcli_yamls/pipeline_cpu.yaml --set env_variables.MINUTES=3",
        module="app.jobs",
        function="run_job",
    )
    parser.add_argument(
        "-f", "--file", required=True, metavar="FILE", help="the job: YAML as `mcli run` takes it"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the job, such as parameters.duration=200ba; may be repeated",
    )
    parser.add_argument(
        "--folder",
        default=".",
        metavar="DIR",
        help="where the job keeps its results (default: the current folder)",
    )
    parser.add_argument(
        "--integrations",
        action="store_true",
        help="install the packages the job asks for, into a folder of this run",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="check the job, and print it")
    instead.add_argument("--to", choices=["skypilot"], help="print it as a task of this tool")


def add_train(commands: Commands) -> None:
    """Add `train`."""
    parser = add_command(
        commands,
        "train",
        "Train a language model as a YAML file says; goes on where the same run was stopped.",
        "codeqa train -f run.yaml optimizer.learning_rate=1e-4",
        module="app.training_run",
    )
    parser.add_argument(
        "-f", "--file", required=True, metavar="FILE", help="the run's configuration, in YAML"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="change a key, such as duration=200ba"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the configuration and print it, with defaults"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
