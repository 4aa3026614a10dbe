"""How long to train: settled once, from the speed of the first steps, and written down.

Written down, so that a run that is killed and goes on has the same learning rates as one that is
not. What is timed is a copy of the model, which is thrown away.
"""

import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.drafts import whole_file
from data_tools.progress import Progress, ReportProgress
from retrieval.embed import has_bfloat16

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from torch import nn

PLAN = "plan.json"
TIMED_STEPS = 3  # after one that warms up
CHECKPOINT_EVERY_S = 60.0


@dataclass(frozen=True)
class FitSettings:
    """How a model is trained.

    :param minutes: longest time to train; epochs are cut short to keep to it.
    :param temperature: of the softmax over cosines.
    :param warmup: share of the steps over which the learning rate rises; it then falls as a
        cosine to 0.
    :param dimensions: lengths at which a vector is trained to be useful; the model's own is added.
    """

    seed: int = 0
    minutes: float = 15.0
    epochs: float = 2.0
    batch_size: int = 64
    learning_rate: float = 1e-4
    temperature: float = 0.05
    warmup: float = 0.1
    dimensions: tuple[int, ...] = (256, 128)


@dataclass(frozen=True)
class Plan:
    """How long to train, settled once.

    :param seconds_per_step: as measured on the first steps.
    """

    steps: int
    seconds_per_step: float
    save_every: int


def read_plan(work: Path) -> Plan:
    """Return how long the model in `work` is trained."""
    return Plan(**json.loads((work / PLAN).read_text("utf-8")))


def settle_plan(
    model: "SentenceTransformer",
    loss: "nn.Module",
    dataset: "Dataset",
    work: Path,
    settings: FitSettings,
    report: ReportProgress,
) -> Plan:
    """Read how long to train, or settle it and write it down.

    :param loss: of the model; called with the features of each column of `dataset`.
    """
    file = work / PLAN
    if file.exists():
        return read_plan(work)
    seconds = _time_a_step(model, loss, dataset, settings)
    wanted = math.ceil(len(dataset) / settings.batch_size * settings.epochs)
    affordable = max(int(settings.minutes * 60 / seconds), 1)
    if affordable < wanted:
        report(
            Progress(
                "notice",
                message=f"training {affordable:,} of {wanted:,} steps, to keep to "
                f"{settings.minutes:g} minutes",
            )
        )
    steps = min(wanted, affordable)
    save_every = max(min(int(CHECKPOINT_EVERY_S / seconds), steps // 2), 1)
    plan = Plan(steps, round(seconds, 4), save_every)
    with whole_file(file) as draft:
        draft.write_text(json.dumps(asdict(plan)), "utf-8")
    return plan


def _time_a_step(
    model: "SentenceTransformer", loss: "nn.Module", dataset: "Dataset", settings: FitSettings
) -> float:
    """Train a copy for some steps that are thrown away; return what one takes, in seconds."""
    import torch

    device = model.device.type
    trial = copy.deepcopy(loss).train()
    optimizer = torch.optim.AdamW(trial.parameters(), lr=settings.learning_rate)
    size = min(settings.batch_size, len(dataset))
    start = 0.0
    with torch.random.fork_rng():
        for step in range(TIMED_STEPS + 1):
            if step == 1:
                start = time.perf_counter()
            rows = [(step * size + row) % len(dataset) for row in range(size)]
            batch = dataset.select(rows)
            features = [
                {
                    key: value.to(model.device) if hasattr(value, "to") else value
                    for key, value in model.preprocess(list(batch[name])).items()
                }
                for name in batch.column_names
            ]
            with torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device)):
                trial(features, None).backward()
            optimizer.step()
            optimizer.zero_grad()
        if device == "cuda":  # which is still at work when it is no longer called
            torch.cuda.synchronize()
    return (time.perf_counter() - start) / TIMED_STEPS
