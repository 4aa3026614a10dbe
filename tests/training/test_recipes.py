"""Each recipe that ships trains on its sample, and its sample is what it says."""

import json
from pathlib import Path

import pytest

from tests.tiny_model import make_tiny_model
from tests.training.runs import log
from training.config import load_config
from training.conversations import read_pairs
from training.train import train

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "training" / "recipes").glob("*.yaml"))
NAMES = [file.stem for file in RECIPES]
ROWS = 20


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def test_the_three_recipes_are_there() -> None:
    assert NAMES == ["english_to_sql", "instruction_following", "neutral_rewriting"]


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_a_sample_has_twenty_rows_that_all_become_pairs(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(recipe)
    lines = Path(config.data.pairs[0]).read_text("utf-8").splitlines()
    assert len({json.dumps(json.loads(line), sort_keys=True) for line in lines}) == ROWS
    pairs = read_pairs(config.data, config.seed)
    assert len(pairs.train) + len(pairs.validation) == ROWS
    assert pairs.left_out == 0
    assert config.model.method == "lora"


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_a_recipe_trains_an_adapter_on_its_sample(
    recipe: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    overrides = [
        f"model.name={model_folder}",
        f"output={tmp_path / 'run'}",
        "optimizer.learning_rate=1e-2",
        "batch.size=4",
        "duration=10ba",
        "evaluation.interval=10ba",
        "evaluation.prompt_tokens=4",
        "precision=fp32",
        "tracking.to=[]",
    ]
    report = train(load_config(recipe, overrides))
    assert report.folder == tmp_path / "run" / "adapter"
    assert report.last["eval_loss"] < report.first["eval_loss"] - 0.1
    samples = [line["samples"] for line in log(tmp_path / "run") if "samples" in line]
    assert [sample[0]["prompt"] for sample in samples] == load_config(recipe).evaluation.prompts * 2
