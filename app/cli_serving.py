"""The grammar of the commands that serve: models to the chat, the index to coding agents."""

import argparse

from app.cli_options import (
    Commands,
    add_command,
    add_index_option,
    add_log_options,
    add_model_options,
    port,
    positive,
)

DEFAULT_PORT = 8000
DEFAULT_MCP_PORT = 7861


def add_serve(commands: Commands) -> None:
    """Add `serve`."""
    parser = add_command(
        commands,
        "serve",
        "Serve a model through vLLM at an OpenAI-compatible URL, and keep it running.",
        "codeqa serve models:/codeqa@champion --adapter sql=runs/sql -- --dtype bfloat16",
        module="app.serving",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a Hugging Face name or folder (of an adapter: its base is served too), or "
        "models:/NAME@ALIAS; what follows -- is passed on to vLLM",
    )
    add_adapter_option(parser)
    parser.add_argument(
        "--embedding",
        action="store_true",
        help="MODEL is an embedding model, for --embedder URL#MODEL",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address (default: %(default)s); any other needs a key in VLLM_API_KEY",
    )
    parser.add_argument(
        "--port",
        type=port,
        default=DEFAULT_PORT,
        help="port; 0 takes one that is free (default: %(default)s)",
    )
    parser.add_argument(
        "--max-model-len",
        type=positive,
        metavar="TOKENS",
        help="longest conversation (default: the model's, or what there is memory for)",
    )
    parser.add_argument(
        "--log", metavar="FILE", help="what vLLM prints (default: a file in codeqa's cache)"
    )
    parser.set_defaults(passed_on=[])


def add_adapter_option(parser: argparse.ArgumentParser) -> None:
    """Add `--adapter`."""
    parser.add_argument(
        "--adapter",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="a LoRA adapter to serve beside the model, asked for as NAME; may be repeated",
    )


def add_token_option(parser: argparse.ArgumentParser) -> None:
    """Add `--token-file`; a token on the command line would be seen among the processes."""
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="file of the token that everybody needs (default: the one in CODEQA_TOKEN; else none "
        "on this machine alone, and for others one that is made and printed)",
    )


def add_rate_option(parser: argparse.ArgumentParser) -> None:
    """Add `--rate-limit`."""
    parser.add_argument(
        "--rate-limit",
        type=rate_limit,
        action="append",
        metavar="WHAT=RATE",
        help="how often one person may do something: questions, searches, repositories or logins, "
        "as in questions=30/minute; may be repeated; `none` lifts all but that of logins",
    )


def rate_limit(text: str) -> str:
    """Read what is limited, and to what."""
    from app.rate_limits import read_limits

    try:
        read_limits([text])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_mcp(commands: Commands) -> None:
    """Add `mcp`."""
    parser = add_command(
        commands,
        "mcp",
        "Let coding agents search and ask an index, over the Model Context Protocol.",
        "codeqa mcp --index index/",
        module="app.mcp_server",
    )
    add_index_option(parser)
    add_model_options(parser)
    add_log_options(parser)
    parser.add_argument(
        "--http",
        action="store_true",
        help="serve at http://HOST:PORT/mcp (default: on standard input and output)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address for --http; one that others reach needs a token, which clients send as "
        "`Authorization: Bearer …` (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=port,
        default=DEFAULT_MCP_PORT,
        help="port for --http; 0 picks one (default: %(default)s)",
    )
    add_token_option(parser)
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which clients address --http, such as one of a proxy; may be repeated",
    )
