"""The picture of what an index costs, drawn from the figures of `benchmarks.scale`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw_cost_curve(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw time, memory and disk against the number of chunks, on logarithmic axes.

    :param rows: as `benchmarks/data/cost_curve.json` holds them, one a size.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "codeqa", "svg.fonttype": "none"})
    chunks = [row["chunks"] for row in rows]
    panels: dict[str, dict[str, list[float]]] = {
        "Milliseconds a question (median)": {
            label: [row["milliseconds"][key]["p50"] for row in rows]
            for label, key in (
                ("all of it", "whole"),
                ("words", "lexical"),
                ("vectors", "dense"),
                ("encoding", "encoding"),
            )
        },
        "Memory, MB (model aside)": {
            "after 200 questions": [row["searched_mb"] for row in rows],
            "opened": [max(row["opened_mb"], 1) for row in rows],
            "most while building": [max(row["build_peak_mb"].values()) for row in rows],
        },
        "On disk, MB": {
            "all of it": [sum(row["bytes"].values()) / 1e6 for row in rows],
            **{
                label: [sum(row["bytes"].get(name, 0) for name in names) / 1e6 for row in rows]
                for label, names in (
                    ("text", ["chunks.sqlite"]),
                    ("words", ["lexical"]),
                    ("vectors", ["vectors.faiss", "vectors.f16"]),
                    ("cache of vectors", ["embeddings.sqlite"]),
                )
            },
        },
    }
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for label, values in lines.items():
            axes.plot(chunks, values, marker="o", markersize=4, label=label)
        axes.set(title=title, xlabel="chunks", xscale="log", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=9)
    figure.savefig(file, metadata={"Date": None})
