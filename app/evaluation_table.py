"""An evaluation as a table on the terminal: one row a metric, one column a configuration."""

from typing import Any

from app.commands import count
from retrieval.metrics import RESAMPLES


def print_table(report: dict[str, Any]) -> None:
    """Print what `app.evaluation.describe` gives.

    Columns after the first configuration hold the mean, the difference to the first and its
    95 % interval, with a star where that leaves out 0.
    """
    configurations, comparisons = report["configurations"], report["comparisons"]
    print(f"{report['questions']}: {_count_questions(report)}")
    rows = [["", "n", *(configuration["name"] for configuration in configurations)]]
    for metric, first in configurations[0]["metrics"].items():
        cells = [f"{first['mean']:.3f}"]
        for configuration, comparison in zip(configurations[1:], comparisons, strict=True):
            mean = configuration["metrics"][metric]["mean"]
            cells.append(f"{mean:.3f} {_write_interval(comparison['metrics'][metric])}")
        rows.append([metric, str(first["n"]), *cells])
    latencies = [configuration["latency_ms"] for configuration in configurations]
    cells = [f"{latency['p50']:.1f} / {latency['p99']:.1f}" for latency in latencies]
    rows.append(["ms a search, p50 / p99", "", *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        line = [name.ljust(widths[0])]
        line += [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        print("  ".join(line).rstrip())
    if comparisons:
        print(
            f"* clear of 0: the 95 % interval of the difference to {configurations[0]['name']} "
            f"(paired bootstrap, {RESAMPLES:,} resamples)"
        )
    for configuration in configurations:
        _print_best(configuration)


def _count_questions(report: dict[str, Any]) -> str:
    """Say how many questions there are, and of what sorts."""
    parts = [count(report["answerable"], "question")]
    if report["unanswerable"]:
        parts.append(f"{report['unanswerable']:,} that the repository does not answer")
    if report["without_gold"]:
        parts.append(f"{report['without_gold']:,} whose answer the set leaves empty")
    if report["missing"]:
        parts.append(f"{report['missing']:,} with gold that is not indexed")
    return ", ".join(parts)


def _write_interval(interval: dict[str, float]) -> str:
    low, high = interval["low"], interval["high"]
    star = "*" if low > 0 or high < 0 else " "
    return f"{interval['difference']:+.3f} [{low:+.3f}, {high:+.3f}]{star}"


def _print_best(configuration: dict[str, Any]) -> None:
    """Print how the best hits of unanswerable questions differ from those of the others."""
    for attribute, best in configuration["best_hits"].items():
        levels = ", ".join(f"{level:.0%}" for level in best["quantiles"])
        yes, no = (
            " ".join(f"{value:.2f}" for value in best[side])
            for side in ("answerable", "unanswerable")
        )
        print(
            f"{configuration['name']}: best {attribute} at {levels}: {yes} where there is an "
            f"answer, {no} where there is none; tells them apart in {best['separation']:.0%}"
        )
