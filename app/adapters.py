"""`codeqa adapters`: the adapters on this machine, and whether they fit a base."""

import argparse
from dataclasses import asdict
from pathlib import Path

from app.commands import print_json
from app.table import print_table


def run_adapters(options: argparse.Namespace) -> None:
    """List them, one a line."""
    from training.adapters import adapter_folders, list_adapters
    from training.model import find_model
    from training.registry import resolve_model

    folders = adapter_folders([Path(folder) for folder in options.folders])
    base = find_model(resolve_model(options.base)) if options.base else None
    adapters = list_adapters(folders, base)
    if options.json:
        for adapter in adapters:
            print_json(asdict(adapter))
        return
    if not adapters:
        print("no adapters there: `codeqa train` with `method: lora` makes one")
        return
    rows = [["adapter", "base", "rank", "layers", "MB", "fits" if base else "", ""]]
    for adapter in adapters:
        fits = {True: "yes", False: "no", None: ""}[adapter.fits]
        size = f"{adapter.size_bytes / 1e6:.2f}"
        layers = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in adapter.targets))
        cells = [adapter.folder, adapter.base or "", str(adapter.rank or ""), layers, size]
        rows.append([*cells, fits, adapter.problem])
    print_table(rows)
