"""What the grammar of all commands shares: adding one, options that recur, types of values."""

import argparse
import functools
import importlib
import math
import os
import sys
from collections.abc import Sequence
from typing import Literal, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DEFAULT_INDEX = ".codeqa/index"
REPO_HELP = (
    "git URL, path of a local repository, plain folder, or documentation site (docs+URL insists); "
    "REPO@REF picks a branch, tag or commit"
)


class CommandParser(argparse.ArgumentParser):
    """A grammar in which `--` may begin what a command passes on to another program.

    That is so where a command has a default for `passed_on`. argparse alone would take these words
    for the command's arguments, and refuse them where options stand before.
    """

    def parse_known_args(  # type: ignore[override]  # of its three forms, the one that is called
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the words before `--`, and keep those after it."""
        words = list(sys.argv[1:] if args is None else args)
        if self.get_default("passed_on") is None:
            return super().parse_known_args(words, namespace)
        end = words.index("--") if "--" in words else len(words)
        options, rest = super().parse_known_args(words[:end], namespace)
        options.passed_on = words[end + 1 :]
        return options, rest


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    example: str,
    *,
    module: str = "app.commands",
    function: str | None = None,
) -> argparse.ArgumentParser:
    """Add a command that calls `function` of `module`: by default `run_` and its name."""
    parser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"example: {example}"
    )
    parser.add_argument(
        "--parameters",
        metavar="FILE[#KEY]",
        help="YAML file of options and arguments not given here, such as `concat_tokens: 2048`; "
        "of a KEY in it, where one is named",
    )
    called = function or f"run_{name.replace('-', '_')}"
    parser.set_defaults(run=functools.partial(_run, module, called))
    return parser


def _run(module: str, function: str, options: argparse.Namespace) -> None:
    if getattr(options, "allow_private", False):
        from data_tools.hosts import allow_private

        allow_private()
    getattr(importlib.import_module(module), function)(options)


def add_repositories(parser: argparse.ArgumentParser, nargs: Literal["*", "+"]) -> None:
    """Add which repositories to read, and `--allow-private`."""
    parser.add_argument("repos", nargs=nargs, metavar="REPO", help=REPO_HELP)
    add_private_option(parser)


def add_private_option(parser: argparse.ArgumentParser) -> None:
    """Add `--allow-private`."""
    parser.add_argument(
        "--allow-private",
        action="store_true",
        help="allow servers at private addresses, of this machine or its network, and plain http "
        "(or set CODEQA_ALLOW_PRIVATE=1)",
    )


def add_index_option(parser: argparse.ArgumentParser) -> None:
    """Add `--index`."""
    parser.add_argument(
        "--index",
        metavar="DIR",
        default=os.environ.get("CODEQA_INDEX", DEFAULT_INDEX),
        help="index folder (default: %(default)s)",
    )


def add_embedder_option(parser: argparse.ArgumentParser) -> None:
    """Add `--embedder`."""
    parser.add_argument(
        "--embedder",
        metavar="MODEL",
        help="embedding model: a sentence-transformers folder or name, or an OpenAI-compatible "
        "server as http://HOST:PORT/v1#MODEL (default: the one the index was made with, else the "
        "packaged all-MiniLM-L6-v2)",
    )


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add `--log-json` and `--log-questions`."""
    parser.add_argument(
        "--log-json",
        action="store_true",
        help="log each request and answer on stderr, as a line of JSON with the request's id",
    )
    parser.add_argument(
        "--log-questions", action="store_true", help="with the questions' text, for --log-json"
    )


def add_model_options(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add what chooses a language model: `--llm`, `--model`, `--timeout`.

    :param several: `--llm` may be given more than once, and is a list; None where it is not given.
    """
    what = (
        "`none` (answers are quotations), the URL of an OpenAI-compatible server such as vLLM, a "
        "Hugging Face folder or name, or models:/NAME@ALIAS"
    )
    if several:
        parser.add_argument(
            "--llm",
            metavar="SPEC",
            action="append",
            help=f"{what}; may be repeated, to choose and compare (default: none)",
        )
        parser.add_argument(
            "--model", metavar="NAME", help="which model answers where nobody chooses another"
        )
    else:
        parser.add_argument(
            "--llm", metavar="SPEC", default="none", help=f"{what} (default: %(default)s)"
        )
        parser.add_argument("--model", metavar="NAME", help="which of the server's models")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=120.0,
        help="longest wait for the server's next words (default: %(default)s)",
    )


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add what narrows a search, and `-k`."""
    parser.add_argument("-k", type=positive, default=8, help="passages (default: %(default)s)")
    parser.add_argument("--repo", action="append", metavar="NAME", help="only this repository")
    parser.add_argument("--language", action="append", metavar="NAME", help="only this language")
    parser.add_argument("--path", metavar="GLOB", help="only paths that match, as in .gitignore")


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text}")
    return int(text)


def count(text: str) -> int:
    """Read a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text}")
    return int(text)


def share(text: str) -> float:
    """Read a share: at least 0 and below 1."""
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, not {text}")
    return share


def seed(text: str) -> int:
    """Read a seed: a whole number below 2^32."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number below 2^32, not {text}")
    return int(text)


def seconds(text: str) -> float:
    """Read a number above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return seconds


def picture(text: str) -> str:
    """Read the name of a picture to write."""
    if not text.endswith((".png", ".svg")):
        raise argparse.ArgumentTypeError(f"must end in .png or .svg, not be {text}")
    return text


def port(text: str) -> int:
    """Read the number of a port."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"must be a whole number up to 65535, not {text}")
    return int(text)
