"""Public benchmarks through EleutherAI's lm-evaluation-harness, if it is installed.

It is no requirement of codeqa, and it fetches its tasks' data from the Hugging Face hub. Models in
this process only.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from data_tools.errors import ConfigError, ModelError
from training.evaluate_model import Row, Tallies, make_rows
from training.local_model import LocalModel
from training.model_metrics import Tally

PART = "lm_eval"


def run_harness(
    tuned: LocalModel, base: LocalModel | None, tasks: Sequence[str], limit: int | None
) -> list[Row]:
    """Run tasks on one model, or on two side by side.

    :param limit: questions of each task at most; None for all.
    :return: one row for each task and metric, named `task/metric`.
    :raises ConfigError: lm_eval is not installed, or knows no such task.
    """
    models = [model for model in (base, tuned) if model is not None]
    return list(make_rows(PART, [_run(model, tasks, limit) for model in models]))


def _run(model: LocalModel, tasks: Sequence[str], limit: int | None) -> Tallies:
    try:
        from lm_eval import simple_evaluate  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ConfigError(
            'lm-evaluation-harness is not installed; run `pip install "lm_eval[hf]"`, or leave '
            "--lm-eval out"
        ) from error
    settings: dict[str, Any] = {"pretrained": str(model.folder)}
    if model.adapter:
        settings["peft"] = str(model.adapter)
    try:
        results = simple_evaluate(
            model="hf",
            model_args=settings,
            tasks=list(tasks),
            limit=limit,
            batch_size="auto",
            log_samples=True,
        )
    except (KeyError, ValueError) as error:
        raise ConfigError(f"lm_eval refuses the tasks ({error}); correct --lm-eval") from error
    except Exception as error:  # the boundary: the hub's client, its data sets' loaders, torch
        raise ModelError(f"lm_eval failed on {model.name}: {error}") from error
    return tally_samples(results["samples"])


def tally_samples(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> Tallies:
    """Gather the metrics of each question that are single numbers, by `task/metric`.

    :param samples: by task, as lm_eval logs them: `metrics` names the keys that hold values.
    """
    tallies: Tallies = {}
    for task, questions in samples.items():
        metrics = dict.fromkeys(name for each in questions for name in each.get("metrics", ()))
        for metric in metrics:
            values = [each.get(metric) for each in questions]
            if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
                tallies[f"{task}/{metric}"] = Tally.mean_of([float(value) for value in values])  # type: ignore[arg-type]
    return tallies
