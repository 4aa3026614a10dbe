"""Conversations, datasets, corpora and models with damaged files: read as they were, or refused.

Where nothing vouches for a file's bytes (a conversation, the text of a corpus, the weights of a
model that is not registered), other content is read as such: that is counted, and no fault. What
must never be is a crash, or a dataset that passes its own manifest and is another.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from app.conversation import Exchange, change, end
from app.history import FILE_NAME, History
from data_tools.errors import TrainingError
from data_tools.flatten import flatten
from tests.conftest import TINY_FILES
from tests.git_repositories import make_repository
from tests.tiny_model import make_tiny_model
from tests.torture.conftest import Cases, Tally
from tests.torture.damage import content_damages
from tests.torture.damaged_data import SCOPE
from tests.training.runs import pretrain_config
from tests.training.tiny_encoder import make_tiny_encoder
from tests.training.tiny_stream import make_stream
from training.config import TrainConfig
from training.train import train

ROOT = Path(__file__).parents[2]
LIKE_OTHERS = ("shards", "encoder")
VOUCHED = ("dataset",)  # kinds whose manifest holds a hash of every file


def make_history(folder: Path) -> None:
    """Write 15 conversations of two exchanges."""
    history = History(folder / FILE_NAME, scope=SCOPE)
    for number in range(15):
        for part in range(2):
            exchange = Exchange(f"Question {part} of bucket {number}?", id=f"e{number}-{part}")
            history.begin("ada", f"c{number}", exchange)
            answered = change(exchange, 0, text=f"Answer {number}. " * 20)
            history.save(end(answered, stopped=True))
    history.close()


def make_dataset(folder: Path) -> None:
    """Write an MDS dataset of two splits."""
    model = make_tiny_model(folder.with_name("tokenizer"))
    make_stream(folder, model)


def make_corpus(folder: Path) -> None:
    """Flatten a small repository."""
    flatten([str(make_repository(folder.with_name("limits"), TINY_FILES))], folder)


MAKERS: dict[str, Callable[[Path], object]] = {
    "history": make_history,
    "dataset": make_dataset,
    "shards": make_dataset,
    "corpus": make_corpus,
    "model": make_tiny_model,
    "encoder": make_tiny_encoder,
}


@pytest.mark.parametrize("kind", list(MAKERS))
def test_damaged_data_is_read_as_it_was_or_refused(
    kind: str, tmp_path: Path, cases: Cases, tally: Tally
) -> None:
    count = cases(0 if kind in LIKE_OTHERS else 8, 150)
    if not count:
        pytest.skip("its readers are those of another kind: tried whole, by `make torture`")
    folder = tmp_path / kind
    folder.mkdir()
    MAKERS[kind](folder)
    command = [sys.executable, "-m", "tests.torture.damaged_data", kind, str(folder)]
    done = subprocess.run(
        [*command, str(count)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3_000,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    whole, *results = [json.loads(line) for line in done.stdout.splitlines()]
    assert whole["came"] == "same"
    came = Counter(result["came"].partition(":")[0] for result in results)
    right = {"same", "error", *([] if kind in VOUCHED else ["other"])}
    faults = [r for r in results if r["came"] not in right]
    tally(
        f"damaged {kind}",
        cases=len(results),
        typed_errors=came["error"],
        same=came["same"],
        read_as_other_content=came["other"],
        crashes=len(faults),
    )
    assert not faults, json.dumps(faults[:10], indent=1)


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Path]:
    """A run that has a checkpoint after its third step of four, and a copy of its folder."""
    folder = tmp_path_factory.mktemp("runs")
    model = make_tiny_model(folder / "tiny")
    config = pretrain_config(
        folder / "run", model, make_stream(folder / "words", model), duration="4ba"
    )
    train(config)
    for place in ("model", "checkpoints/step-4"):
        shutil.rmtree(folder / "run" / place, ignore_errors=True)
    shutil.copytree(folder / "run", folder / "copy")
    return config, folder / "copy"


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_checkpoint_is_named_and_the_run_can_go_on_without_it(
    stopped_run: tuple[TrainConfig, Path], cases: Cases, tally: Tally
) -> None:
    config, copy = stopped_run
    output = Path(str(config.output))
    checkpoint = output / "checkpoints" / "step-3"
    names = sorted(file.name for file in (copy / "checkpoints" / "step-3").iterdir())
    damages = [
        damage
        for name in names
        for damage in content_damages(copy / "checkpoints" / "step-3", name)
        if damage.name.startswith("cut to")
    ]
    count = cases(6, 80)
    came: Counter[str] = Counter()
    for number in range(min(count, len(damages))):
        damage = damages[number * len(damages) // count]
        shutil.rmtree(output)
        shutil.copytree(copy, output)
        damage.apply(checkpoint / damage.file)
        try:
            train(config)
        except TrainingError as error:
            assert "step-3 is damaged" in str(error), damage
            came["error"] += 1
        else:
            came["went on"] += 1  # of what is not read, such as its tokenizer
    tally(
        "damaged checkpoint",
        cases=sum(came.values()),
        typed_errors=came["error"],
        not_read=came["went on"],
    )
    shutil.rmtree(output)
    shutil.copytree(copy, output)
    shutil.rmtree(checkpoint)
    assert train(config).status == "finished"
