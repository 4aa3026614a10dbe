"""What a soak came to: its first hour beside its last, and a picture of its memory."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PART_S = 3600.0  # first and last; half of a shorter run
WARM_UP_S = 600.0  # not counted for the slope: libraries are loaded, caches filled; at most a sixth

Sample = dict[str, Any]
Read = Callable[[Sample], float]


def read_samples(file: Path) -> list[Sample]:
    """Read samples; a last line that was cut short is left out."""
    samples = []
    for line in file.read_text("utf-8").splitlines():
        try:
            samples.append(json.loads(line))
        except ValueError:
            break
    return samples


def print_report(samples: Sequence[Sample]) -> int:
    """Print tables in Markdown; 1 where anything failed, or nothing was measured."""
    alive = [sample for sample in samples if sample["app"]]
    if not alive:
        print("nothing was measured")
        return 1
    end_s = samples[-1]["s"]
    part_s = min(PART_S, end_s / 2)
    first = [sample for sample in alive if sample["s"] <= part_s]
    last = [sample for sample in alive if sample["s"] > end_s - part_s]
    problems = [problem for sample in samples for problem in sample["problems"]]
    count = sum(len(times) for sample in samples for times in sample["ms"].values())
    busy = sum(sample["busy"] for sample in samples)
    app = _share(alive, lambda sample: sample["app"]["processor_s"])
    every = _share(alive, lambda sample: sample["all_processor_s"])
    print(
        f"{end_s / 3600:.2f} hours, {count:,} things done, {len(problems)} errors, {busy} times "
        f"429. Of a core, the app took {app:.0%}; with the people and the model, {every:.0%}.\n\n"
        f"| | first {part_s / 60:.0f} minutes | last {part_s / 60:.0f} minutes "
        "| slope an hour | of the last |\n|---|---|---|---|---|"
    )
    for name, unit, read in _FIGURES:
        means = [np.mean([read(sample) for sample in part]) for part in (first, last)]
        slopes = [slope_per_hour(part, read) for part in (alive, last)]
        figures = [f"{each:,.1f}{unit}" for each in means] + [f"{each:+,.2f}" for each in slopes]
        print(f"| {name} | {' | '.join(figures)} |")
    print("\n| what | count | p50, ms | p99, ms | | last: count | p50, ms | p99, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in sorted({kind for sample in samples for kind in sample["ms"]}):
        print(f"| {kind} | {_describe(first, kind)} | | {_describe(last, kind)} |")
    for problem in sorted(set(problems))[:20]:
        print(f"\n- {problems.count(problem)} × {problem}", end="")
    print()
    return 1 if problems else 0


def slope_per_hour(samples: Sequence[Sample], read: Read) -> float:
    """Fit a line to what grows, by least squares, the warm-up left out.

    :param read: gives one figure of a sample.
    """
    warm_s = min(WARM_UP_S, samples[-1]["s"] / 6)
    later = [sample for sample in samples if sample["s"] > warm_s]
    if len(later) < 2:
        return 0.0
    hours = np.array([sample["s"] / 3600 for sample in later])
    return float(np.polyfit(hours, np.array([read(sample) for sample in later]), 1)[0])


def _share(samples: Sequence[Sample], read: Read) -> float:
    """How much of a core was used."""
    first, last = samples[0], samples[-1]
    return (read(last) - read(first)) / ((last["s"] - first["s"]) or 1)


def draw_memory(samples: Sequence[Sample], file: Path) -> None:
    """Draw memory over time as SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    alive = [sample for sample in samples if sample["app"]]
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    minutes = [sample["s"] / 60 for sample in alive]
    for key, name in (("rss_mb", "resident (RSS)"), ("pss_mb", "proportional (PSS)")):
        axes.plot(minutes, [sample["app"][key] for sample in alive], label=name)
    axes.set(xlabel="minutes", ylabel="memory of the app, MB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(file, metadata={"Date": None})


def _describe(samples: Sequence[Sample], kind: str) -> str:
    times = [each for sample in samples for each in sample["ms"].get(kind, ())]
    if not times:
        return "0 | | "
    middle, most = np.percentile(times, (50, 99))
    return f"{len(times)} | {middle:,.0f} | {most:,.0f}"


_FIGURES: tuple[tuple[str, str, Read], ...] = (
    ("memory, PSS", " MB", lambda sample: sample["app"]["pss_mb"]),
    ("memory, RSS", " MB", lambda sample: sample["app"]["rss_mb"]),
    ("threads", "", lambda sample: sample["app"]["threads"]),
    ("open files", "", lambda sample: sample["app"]["open_files"]),
    ("index on disk", " MB", lambda sample: sample["index_mb"]),
    ("conversations on disk", " MB", lambda sample: sample["history_mb"]),
)
