"""What `codeqa eval answers` measured, as a table on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.commands import count
from app.table import print_table
from retrieval.metrics import RESAMPLES


def print_answers(report: Mapping[str, Any]) -> None:
    """Print what `app.answer_evaluation.describe` gives: one row a metric, one column a model.

    Columns after the first hold the value, the difference to the first model and its 95 %
    interval, with a star where that leaves out 0.
    """
    models, comparisons = report["models"], report["comparisons"]
    print(f"{report['questions']}: {_count_questions(report)}")
    rows = [["", "n", *(model["name"] for model in models)]]
    for metric, first in models[0]["metrics"].items():
        cells = [_write_value(first)]
        for model, comparison in zip(models[1:], comparisons, strict=True):
            value = model["metrics"].get(metric)
            difference = comparison["metrics"].get(metric)
            cells.append(_write_difference(value, difference) if value and difference else "–")
        rows.append([metric, str(first["n"]), *cells])
    rows += _write_cost([model["cost"] for model in models])
    print_table(rows)
    if comparisons:
        print(
            f"* clear of 0: the 95 % interval of the difference to {models[0]['name']} "
            f"(paired bootstrap, {RESAMPLES:,} resamples)"
        )
    else:
        print(f"in brackets: 95 % intervals (bootstrap over questions, {RESAMPLES:,} resamples)")
    for judged in report["judged"]:
        _print_judged(judged, report["judge"])
    for model in models:
        if model["cost"]["failed"]:
            print(f"{model['name']} failed at {count(model['cost']['failed'], 'question')}")


def _count_questions(report: Mapping[str, Any]) -> str:
    parts = [count(report["answerable"], "question")]
    if report["unanswerable"]:
        parts.append(f"{report['unanswerable']:,} that the repository does not answer")
    if report["missing"]:
        parts.append(f"{report['missing']:,} with gold that is not indexed")
    return ", ".join(parts)


def _write_value(value: Mapping[str, Any]) -> str:
    if value["value"] is None:
        return "–"
    if value["low"] is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _write_difference(value: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    if value["value"] is None:
        return "–"
    if found["low"] is None:
        return f"{value['value']:.3f}"
    star = "*" if found["low"] > 0 or found["high"] < 0 else " "
    return (
        f"{value['value']:.3f} {found['difference']:+.3f} "
        f"[{found['low']:+.3f}, {found['high']:+.3f}]{star}"
    )


def _write_cost(costs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Write rows of milliseconds and tokens; what no model has is left out."""
    rows = []
    for name, label in (
        ("search_s", "ms to the evidence"),
        ("first_token_s", "ms to the first words"),
        ("total_s", "ms to the end"),
    ):
        times = [cost.get(name) for cost in costs]
        cells = [f"{1e3 * t['p50']:,.0f} / {1e3 * t['p95']:,.0f}" if t else "–" for t in times]
        rows.append([f"{label}, p50 / p95", "", *cells])
    for name, label in (
        ("calls", "calls of the model"),
        ("prompt_tokens", "tokens read"),
        ("completion_tokens", "tokens written"),
    ):
        if any(cost[name] for cost in costs):
            cells = ["–" if cost[name] is None else f"{cost[name]:,.1f}" for cost in costs]
            rows.append([f"{label}, mean", "", *cells])
    return rows


def _print_judged(judged: Mapping[str, Any], judge: str) -> None:
    """Print how often one side won in the eyes of the judge, and how sure that judge is."""
    decided = judged["first"] + judged["second"] + judged["tie"]
    names = f"{judged['second_name']} against {judged['first_name']}"
    if not decided:
        print(f"{judge} on {names}: no verdict held in both orders")
        return
    interval = "" if judged["low"] is None else f" [{judged['low']:.3f}, {judged['high']:.3f}]"
    print(
        f"{judge} on {names}: {judged['score']:.3f}{interval} of {count(decided, 'duel')} "
        f"({judged['second']:,} won, {judged['tie']:,} tied, {judged['first']:,} lost); "
        f"{judged['disagreed']:,} of {judged['duels']:,} hung on the order and do not count, "
        f"{judged['unreadable']:,} got no verdict"
    )
