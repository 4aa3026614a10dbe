"""`codeqa`: one subcommand a verb. Results go to stdout, progress and errors to stderr.

Exit codes: 0, 1 for a fault the user can mend (one line that names the fix), 2 for wrong usage.
What the commands do is in the modules that `_add_command` is told, imported when one runs, so that
`--help` is instant.
"""

import argparse
import importlib
import io
import math
import os
import sys
from collections.abc import Sequence
from typing import TypeAlias

from data_tools.errors import CodeQAError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DEFAULT_INDEX = ".codeqa/index"
DEFAULT_PORT = 7860
_REPO_HELP = (
    "git URL, path of a local repository, or plain folder; REPO@REF picks a branch, tag or commit"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _stay_private()
    options = make_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        options.run(options)
        sys.stdout.flush()
    except CodeQAError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted; what was there before is untouched, run it again to go on")
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _fail(message: str) -> int:
    line = " ".join(message.split())
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )
    print(f"codeqa: {shown}", file=sys.stderr)
    return 1


def _stay_private() -> None:
    """Keep the libraries from reporting usage or looking for newer versions."""
    for name in ("GRADIO_ANALYTICS_ENABLED", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        os.environ.setdefault(name, "false")
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "VLLM_NO_USAGE_STATS"):
        os.environ.setdefault(name, "1")


def make_parser() -> argparse.ArgumentParser:
    """Build the command line's grammar; each command has help and an example."""
    parser = argparse.ArgumentParser(
        prog="codeqa", description="Ask questions about code, and get answers with line numbers."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_chat(commands)
    _add_index(commands)
    _add_ask(commands)
    _add_search(commands)
    _add_status(commands)
    _add_flatten(commands)
    return parser


def _add_command(
    commands: Commands,
    name: str,
    summary: str,
    example: str,
    *,
    module: str = "app.commands",
    function: str | None = None,
) -> argparse.ArgumentParser:
    """Add a command that calls `function` of `module`: by default `run_` and its name."""

    def run(options: argparse.Namespace) -> None:
        called = function or f"run_{name.replace('-', '_')}"
        getattr(importlib.import_module(module), called)(options)

    parser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"example: {example}"
    )
    parser.set_defaults(run=run)
    return parser


def _add_index_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--index",
        metavar="DIR",
        default=os.environ.get("CODEQA_INDEX", DEFAULT_INDEX),
        help="index folder (default: %(default)s)",
    )


def _add_embedder_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embedder",
        metavar="MODEL",
        help="embedding model: a sentence-transformers folder or name (default: the one the index "
        "was made with, else the packaged all-MiniLM-L6-v2)",
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--llm",
        metavar="SPEC",
        default="none",
        help="`none` (answers are quotations), the URL of an OpenAI-compatible server such as "
        "vLLM, or a Hugging Face folder or name (default: %(default)s)",
    )
    parser.add_argument("--model", metavar="NAME", help="which of the server's models")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=120.0,
        help="longest wait for the server's next words (default: %(default)s)",
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-k", type=_positive, default=8, help="passages (default: %(default)s)")
    parser.add_argument("--repo", action="append", metavar="NAME", help="only this repository")
    parser.add_argument("--language", action="append", metavar="NAME", help="only this language")
    parser.add_argument("--path", metavar="GLOB", help="only paths that match, as in .gitignore")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return seconds


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"must be a whole number up to 65535, not {text}")
    return int(text)


def _add_chat(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "chat",
        "Open the web chat; index repositories first if any are given.",
        "codeqa chat https://github.com/mosaicml/composer",
    )
    parser.add_argument("repos", nargs="*", metavar="REPO", help=_REPO_HELP)
    parser.add_argument(
        "--index",
        metavar="DIR",
        help=f"index folder (default: with REPO one in the user's cache, else {DEFAULT_INDEX})",
    )
    _add_embedder_option(parser)
    _add_model_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="port (default: %(default)s)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def _add_index(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "index",
        "Index repositories, or bring those of an index up to date if none is given.",
        "codeqa index https://github.com/mosaicml/composer@v0.15.1 . --index index/",
    )
    parser.add_argument("repos", nargs="*", metavar="REPO", help=_REPO_HELP)
    _add_index_option(parser)
    _add_embedder_option(parser)


def _add_ask(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "ask",
        "Answer one question, with citations.",
        'codeqa ask "Which callback stops training early?" --index index/',
    )
    parser.add_argument("question")
    _add_index_option(parser)
    _add_model_options(parser)
    _add_filters(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_search(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "search",
        "Print the lines that answer a question, best first.",
        'codeqa search "where are checkpoints saved?" --index index/ -k 5 --json',
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("question", nargs="?")
    asked.add_argument(
        "--queries", metavar="FILE", help='JSONL of {"id": …, "query": …}; - is standard input'
    )
    _add_index_option(parser)
    _add_filters(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def _add_status(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "status",
        "Say what an index holds, what was skipped and why, and how far behind it is.",
        "codeqa status --index index/",
    )
    _add_index_option(parser)
    parser.add_argument("--offline", action="store_true", help="do not ask the remotes")
    parser.add_argument("--skipped", action="store_true", help="list every skipped file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_flatten(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "flatten",
        "Write repositories as folders of text files, each with a manifest.",
        "codeqa flatten https://github.com/mosaicml/composer --out corpus/",
    )
    parser.add_argument("repos", nargs="+", metavar="REPO", help=_REPO_HELP)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into")
