"""`codeqa export`: a run as a Hugging Face folder, and in the registry of models."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands import print_json
from data_tools.errors import ConfigError

if TYPE_CHECKING:
    from training.export import ExportReport
    from training.registry import Registered


def run_export(options: argparse.Namespace) -> None:
    """Export, register, or both."""
    from training.export import export_model
    from training.export_source import find_source
    from training.registry import check_registration, register_model

    _check(options)
    source = Path(options.source)
    out = Path(options.out) if options.out else None
    report: ExportReport | None = None
    registered: Registered | None = None
    wanted: dict[str, Any] = {}
    if options.register:
        found = find_source(source)
        wanted = {
            "alias": options.alias,
            "evaluation": Path(options.evaluation) if options.evaluation else None,
            "made_of": [place for place in (found.folder, found.run) if place],
            "force": options.force,
        }
        # What is to be refused is, before weights are written.
        check_registration(out or found.folder, options.register, **wanted)
    if out:
        report = export_model(source, out, merge=options.merge, base=options.base)
    if options.register:
        registered = register_model(out or source, options.register, **wanted)
    _print(report, registered, as_json=options.json)


def _check(options: argparse.Namespace) -> None:
    if not options.out and not options.register:
        raise ConfigError("give --out DIR to export into, --register NAME, or both")
    if not options.out and (options.merge or options.base):
        raise ConfigError("--merge and --base need --out DIR, for the folder that they make")
    if not options.register and (options.alias or options.evaluation or options.force):
        raise ConfigError("--alias, --evaluation and --force need --register NAME")


def _print(
    report: "ExportReport | None", registered: "Registered | None", *, as_json: bool
) -> None:
    if as_json:
        record: dict[str, Any] = asdict(report) if report else {}
        print_json(record | {"registered": asdict(registered) if registered else None})
        return
    if report:
        size = f"{report.size_bytes / 1e6:,.1f} MB, {report.dtype}"
        print(f"{report.folder}: {_describe(report)}, {size}")
    if registered:
        print(
            f"{registered.uri}: version {registered.version} of {registered.name}; use it with "
            f"`--llm {registered.uri}`"
        )


def _describe(report: "ExportReport") -> str:
    step = "" if report.step is None else f" of step {report.step:,}"
    if report.merged:
        return (
            f"adapter{step} merged into {report.base}, largest difference of a logit "
            f"{report.max_logit_difference:.1e}"
        )
    if report.kind == "adapter":
        return f"adapter{step} for {report.base}"
    return f"model{step}"
