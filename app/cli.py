"""`codeqa`: one subcommand a verb. Results go to stdout, progress and errors to stderr.

Exit codes: 0, 1 for a fault the user can mend (one line that names the fix), 2 for wrong usage.
What the commands do is in the modules that `_add_command` is told, imported when one runs, so that
`--help` is instant. The options of all commands stand together here, so that they stay alike.
"""

import argparse
import functools
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
PAIR_KINDS = ("docstring", "rewrite", "heading", "commit", "test")
SEARCH_MODES = ("hybrid", "lexical", "dense")
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
    _add_eval(commands)
    _add_tune_retriever(commands)
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
    parser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"example: {example}"
    )
    called = function or f"run_{name.replace('-', '_')}"
    parser.set_defaults(run=functools.partial(_run, module, called))
    return parser


def _run(module: str, function: str, options: argparse.Namespace) -> None:
    getattr(importlib.import_module(module), function)(options)


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
        help="embedding model: a sentence-transformers folder or name, or an OpenAI-compatible "
        "server as http://HOST:PORT/v1#MODEL (default: the one the index was made with, else the "
        "packaged all-MiniLM-L6-v2)",
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


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, not {text}")
    return share


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number below 2^32, not {text}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return seconds


def _picture(text: str) -> str:
    if not text.endswith((".png", ".svg")):
        raise argparse.ArgumentTypeError(f"must end in .png or .svg, not be {text}")
    return text


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
    parser.add_argument(
        "--remove", action="append", metavar="NAME", help="take this repository out of the index"
    )
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
    parser.add_argument(
        "--verify", action="store_true", help="check every byte of the index against its hashes"
    )
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


def _add_eval(commands: Commands) -> None:
    summary = "Measure how well an index finds what a question set asks for, or make such a set."
    parser = commands.add_parser(
        "eval",
        help=summary,
        description=summary,
        epilog="example: codeqa eval retrieval --questions questions.jsonl --index index/",
    )
    subparsers = parser.add_subparsers(
        dest="evaluation", metavar="WHAT", required=True, help="what to do"
    )
    _add_eval_retrieval(subparsers)
    _add_eval_make_questions(subparsers)


def _add_eval_retrieval(subparsers: Commands) -> None:
    parser = _add_command(
        subparsers,
        "retrieval",
        "Measure what a search finds: recall, nDCG, hits by lines, answers in context, latency.",
        "codeqa eval retrieval --questions questions.jsonl --index index/ --against lexical",
        module="app.evaluation",
        function="run_eval_retrieval",
    )
    parser.add_argument(
        "--questions", required=True, metavar="FILE", help="question set; see docs/questions.md"
    )
    _add_index_option(parser)
    parser.add_argument(
        "--mode",
        choices=SEARCH_MODES,
        default=SEARCH_MODES[0],
        help="rank by words and meaning, words alone, or meaning alone (default: %(default)s)",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="MODE|DIR",
        help="measure this beside it, with 95 %% intervals of the differences: another mode, or "
        "another index folder; may be given several times",
    )
    parser.add_argument(
        "--max-answer-files",
        type=_positive,
        metavar="N",
        help="leave out questions whose answer stands in more than N files, or in none",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="count gold that the index does not hold as not found, instead of refusing it",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--plot", type=_picture, metavar="FILE", help="draw recall against k: .png or .svg"
    )
    parser.add_argument(
        "--per-question", metavar="FILE", help="write each question's values and hits as JSONL"
    )


def _add_eval_make_questions(subparsers: Commands) -> None:
    parser = _add_command(
        subparsers,
        "make-questions",
        "Make a question set from a repository's docstrings, headings, commits and tests.",
        "codeqa eval make-questions . --out questions.jsonl --corpus corpus/",
        module="app.make_questions",
        function="run_eval_make_questions",
    )
    parser.add_argument("repo", metavar="REPO", help=_REPO_HELP)
    parser.add_argument("--out", required=True, metavar="FILE", help="question set to write")
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="DIR",
        help="folder to write the repository into, the lines that give questions away left blank: "
        "index this one to measure",
    )
    parser.add_argument(
        "--limit", type=_positive, default=300, metavar="N", help="questions (default: %(default)s)"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=PAIR_KINDS,
        default=PAIR_KINDS,
        metavar="KIND",
        help=f"what questions are made from: {', '.join(PAIR_KINDS)} (default: all)",
    )
    parser.add_argument(
        "--commits",
        type=_count,
        default=500,
        metavar="N",
        help="commits looked at, newest first (default: %(default)s)",
    )
    parser.add_argument(
        "--unanswerable",
        type=_share,
        default=0.1,
        metavar="SHARE",
        help="share of questions about things that are not there (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=_count, default=0, metavar="N", help="of the choice (default: %(default)s)"
    )


def _add_tune_retriever(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "tune-retriever",
        "Tune the embedding model on repositories, and write it if it finds more than before.",
        "codeqa tune-retriever https://github.com/mosaicml/composer --out models/composer",
        module="app.tuning",
    )
    parser.add_argument("repos", nargs="+", metavar="REPO", help=_REPO_HELP)
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
        type=_seconds,
        default=15.0,
        help="longest time for the training itself (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of all chance (default: %(default)s)"
    )
    parser.add_argument(
        "--force", action="store_true", help="write the model even if it is not better"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
