"""The grammar of the tuning pipeline's commands, in the order they are run."""

from app.cli_options import (
    REPO_HELP,
    Commands,
    add_command,
    seconds,
    seed,
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
    parser.add_argument("repos", nargs="+", metavar="REPO", help=REPO_HELP)
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
