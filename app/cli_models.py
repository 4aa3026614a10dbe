"""The grammar of the commands on what training made: `runs`, `export`, `adapters`."""

from app.cli_options import Commands, add_command, port

RUNS_PORT = 5000  # MLflow's own


def add_runs(commands: Commands) -> None:
    """Add `runs`."""
    parser = add_command(
        commands,
        "runs",
        "Show the training runs that were recorded, in MLflow's page.",
        "codeqa runs --list",
        module="app.runs",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="print a table instead")
    instead.add_argument("--json", action="store_true", help="print one JSON object a run instead")
    instead.add_argument(
        "--sync", metavar="RUN", help="send what the tracking server lacks of this run's folder"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument("--port", type=port, default=RUNS_PORT, help="port (default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def add_export(commands: Commands) -> None:
    """Add `export`."""
    parser = add_command(
        commands,
        "export",
        "Write a run's model or adapter as a Hugging Face folder, and register it.",
        "codeqa export runs/chat --out models/chat --merge --register codeqa --alias champion "
        "--evaluation chat.json",
        module="app.exporting",
    )
    parser.add_argument(
        "source", metavar="RUN", help="a run's folder, a checkpoint of it, a model or an adapter"
    )
    parser.add_argument("--out", metavar="DIR", help="new folder; not needed only to register")
    parser.add_argument("--merge", action="store_true", help="put an adapter into its base")
    parser.add_argument(
        "--base", metavar="MODEL", help="the adapter's base (default: the one that it names)"
    )
    parser.add_argument("--register", metavar="NAME", help="name in MLflow's registry of models")
    parser.add_argument(
        "--alias",
        metavar="NAME",
        help="call this version so; `champion` only if it is no worse than its base",
    )
    parser.add_argument(
        "--evaluation", metavar="FILE", help="what `codeqa eval model --out FILE` wrote"
    )
    parser.add_argument(
        "--force", action="store_true", help="call it `champion` even if it is worse"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_adapters(commands: Commands) -> None:
    """Add `adapters`."""
    parser = add_command(
        commands,
        "adapters",
        "List adapters, what they adapt, and whether they fit a base.",
        "codeqa adapters runs/ --base Qwen/Qwen3-4B",
        module="app.adapters",
    )
    parser.add_argument(
        "folders",
        nargs="*",
        metavar="FOLDER",
        help="where to look, besides CUSTOM_LORA_ADAPTERS_DIR",
    )
    parser.add_argument("--base", metavar="MODEL", help="see which fit this model")
    parser.add_argument("--json", action="store_true", help="print one JSON object an adapter")
