"""`codeqa`: one subcommand a verb. Results go to stdout, progress and errors to stderr.

Exit codes: 0, 1 for a fault the user can mend (one line that names the fix), 2 for wrong usage.
What the commands do is in the modules that `add_command` is told, imported when one runs, so that
`--help` is instant. The options of all commands stand together here, so that they stay alike.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from app.cli_data import add_convert, add_datasets, add_tokenizer
from app.cli_eval import add_eval
from app.cli_models import add_adapters, add_export, add_runs
from app.cli_options import (
    DEFAULT_INDEX,
    CommandParser,
    Commands,
    add_command,
    add_embedder_option,
    add_filters,
    add_index_option,
    add_log_options,
    add_model_options,
    add_private_option,
    add_repositories,
    port,
)
from app.cli_serving import (
    add_adapter_option,
    add_mcp,
    add_rate_option,
    add_serve,
    add_token_option,
)
from app.cli_tuning import add_qa_pairs, add_run, add_train, add_tune_retriever
from app.parameters import expand_parameters
from data_tools.errors import CodeQAError
from data_tools.hidden_text import show_on_one_line
from data_tools.privacy import stop_reporting

DEFAULT_PORT = 7860


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    stop_reporting()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        parser = make_parser()
        words = sys.argv[1:] if arguments is None else arguments
        options = parser.parse_args(expand_parameters(parser, words))
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
    print(f"codeqa: {show_on_one_line(' '.join(message.split()))}", file=sys.stderr)
    return 1


def make_parser() -> argparse.ArgumentParser:
    """Build the command line's grammar; each command has help and an example."""
    parser: argparse.ArgumentParser = CommandParser(
        prog="codeqa", description="Ask questions about code, and get answers with line numbers."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_chat(commands)
    _add_index(commands)
    _add_ask(commands)
    _add_search(commands)
    _add_status(commands)
    _add_doctor(commands)
    add_serve(commands)
    add_mcp(commands)
    _add_flatten(commands)
    add_eval(commands)
    add_tokenizer(commands)
    add_convert(commands)
    add_datasets(commands)
    add_qa_pairs(commands)
    add_tune_retriever(commands)
    add_train(commands)
    add_runs(commands)
    add_export(commands)
    add_adapters(commands)
    add_run(commands)
    return parser


def _add_chat(commands: Commands) -> None:
    parser = add_command(
        commands,
        "chat",
        "Open the web chat and the API; index repositories first if any are given.",
        "codeqa chat https://github.com/mosaicml/composer",
    )
    add_repositories(parser, "*")
    parser.add_argument(
        "--index",
        metavar="DIR",
        help=f"index folder (default: with REPO one in the user's cache, else {DEFAULT_INDEX})",
    )
    add_embedder_option(parser)
    add_model_options(parser, several=True)
    parser.add_argument(
        "--serve",
        metavar="MODEL",
        help="serve this model through vLLM while the page is open, as `codeqa serve` does",
    )
    add_adapter_option(parser)
    parser.add_argument(
        "--history",
        metavar="FILE",
        help="where conversations are kept (default: a file in the user's data folder)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address (default: %(default)s); at one that others reach, everybody needs a token",
    )
    parser.add_argument(
        "--port", type=port, default=DEFAULT_PORT, help="port; 0 picks one (default: %(default)s)"
    )
    add_token_option(parser)
    add_rate_option(parser)
    add_log_options(parser)
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def _add_index(commands: Commands) -> None:
    parser = add_command(
        commands,
        "index",
        "Index repositories, or bring those of an index up to date if none is given.",
        "codeqa index https://github.com/mosaicml/composer@v0.15.1 . --index index/",
    )
    add_repositories(parser, "*")
    parser.add_argument(
        "--remove", action="append", metavar="NAME", help="take this repository out of the index"
    )
    add_index_option(parser)
    add_embedder_option(parser)


def _add_ask(commands: Commands) -> None:
    parser = add_command(
        commands,
        "ask",
        "Answer one question, with citations.",
        'codeqa ask "Which callback stops training early?" --index index/',
        module="app.asking",
    )
    parser.add_argument("question")
    add_index_option(parser)
    add_model_options(parser)
    parser.add_argument(
        "--strategy",
        choices=("direct", "sub-questions", "related"),
        default="direct",
        help="`sub-questions` breaks the question up and answers its parts first, `related` adds "
        "questions to go on with (default: %(default)s)",
    )
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_search(commands: Commands) -> None:
    parser = add_command(
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
    add_index_option(parser)
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def _add_doctor(commands: Commands) -> None:
    parser = add_command(
        commands,
        "doctor",
        "Check that all that codeqa needs is here and whole, and say what mends each fault.",
        "codeqa doctor --llm http://127.0.0.1:8000/v1",
        module="app.doctor",
    )
    add_index_option(parser)
    parser.add_argument(
        "--llm",
        metavar="URL",
        action="append",
        help="a model server to ask whether it answers; may be repeated",
    )
    parser.add_argument("--history", metavar="FILE", help="file of conversations to check")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_status(commands: Commands) -> None:
    parser = add_command(
        commands,
        "status",
        "Say what an index holds, what was skipped and why, and how far behind it is.",
        "codeqa status --index index/",
    )
    add_index_option(parser)
    parser.add_argument("--offline", action="store_true", help="do not ask the remotes")
    add_private_option(parser)
    parser.add_argument("--skipped", action="store_true", help="list every skipped file")
    parser.add_argument(
        "--verify", action="store_true", help="check every byte of the index against its hashes"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_flatten(commands: Commands) -> None:
    parser = add_command(
        commands,
        "flatten",
        "Write repositories as folders of text files, each with a manifest.",
        "codeqa flatten https://github.com/mosaicml/composer --out corpus/",
    )
    add_repositories(parser, "+")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into")


if __name__ == "__main__":  # `python -m app.cli`, as processes that train together are started
    sys.exit(main())
