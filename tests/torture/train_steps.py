"""What makes datasets and models, in a process that may be killed; heavy imports are kept warm."""

from pathlib import Path
from typing import Any

import training.pretrain
import training.run  # noqa: F401 - likewise imported late
from data_tools.convert import ConvertSettings, convert
from data_tools.documents import open_corpus
from data_tools.flatten import flatten
from tests.torture.faults import Tell
from training.config import TrainConfig
from training.train import train


def train_model(tell: Tell, config: dict[str, Any]) -> None:
    """Train as configured, or go on from the last checkpoint."""
    tell(status=train(TrainConfig.model_validate(config)).status)


def flatten_repository(tell: Tell, repository: str, out: str) -> None:
    """Write a repository as text files, in the place of what was there."""
    (report,) = flatten([repository], Path(out))
    tell(files=report.files)


def convert_corpus(tell: Tell, corpus: str, out: str, tokenizer: str) -> None:
    """Write a corpus as a dataset of shards, in the place of the one that was there."""
    settings = ConvertSettings(tokenizer, concat_tokens=16, shares={"train": 0.5, "test": 0.5})
    report = convert(open_corpus("txt", [corpus]), out, settings, name="corpus")
    tell(version=report.version)
