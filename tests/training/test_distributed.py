"""Two processes learn what one does, with copied weights and with weights that are dealt out."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from data_tools.errors import TrainingError
from tests.tiny_model import make_tiny_model
from tests.training.runs import batches, log, losses, pretrain_config, run_command
from tests.training.tiny_stream import make_stream
from training.train import train

pytestmark = [
    # streaming leaves closing its files to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).parent.parent.parent
KEYS: dict[str, Any] = {"duration": "6ba", "checkpoint": {"interval": "4ba"}}
SHARES = """
    import json, os, sys
    from pathlib import Path
    from torch.distributed.tensor import DTensor
    from transformers import TrainerCallback
    import training.run
    from training.config import load_config
    from training.train import train

    class Shares(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            shares = {
                name: [list(weight.shape), list(weight.to_local().shape), str(weight.placements)]
                for name, weight in model.named_parameters()
                if isinstance(weight, DTensor)
            }
            moments = next(iter(self.optimizer(_).state.values()))["exp_avg"]
            facts = {"shares": shares, "all": len(list(model.parameters())),
                     "moments": isinstance(moments, DTensor)}
            Path(sys.argv[2], os.environ["RANK"]).write_text(json.dumps(facts))

        @staticmethod
        def optimizer(given):
            return given["optimizer"].optimizer

    equip = training.run.Run.equip
    def equip_and_look(run, trainer, *arguments, **options):
        trainer.add_callback(Shares())
        return equip(run, trainer, *arguments, **options)
    training.run.Run.equip = equip_and_look
    train(load_config(Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tokenizer") / "tiny")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Path:
    # 20 windows: the last batch of an epoch is smaller, and dealt out unevenly in real tokens
    return make_stream(tmp_path_factory.mktemp("data") / "words", tokenizer, samples=20)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path, words: Path) -> Path:
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(pretrain_config(folder, tokenizer, words, **KEYS))
    return folder


def furthest(first: Path, second: Path) -> float:
    """The largest difference of a step's loss."""
    one, other = losses(first), losses(second)
    assert one.keys() == other.keys()
    return max(abs(one[step] - other[step]) for step in one)


def test_two_processes_with_copied_weights_learn_what_one_does(
    tmp_path: Path, tokenizer: Path, words: Path, alone: Path
) -> None:
    config = pretrain_config(tmp_path / "run", tokenizer, words, parallel="ddp", **KEYS)
    code, output = run_command(config, tmp_path / "run.yaml", workers=2)
    assert code == 0, output
    assert batches(tmp_path / "run") == batches(alone)
    assert furthest(tmp_path / "run", alone) < 1e-4


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path, words: Path) -> Path:
    """The folder of a run of two processes with weights dealt out, and what each of them held."""
    folder = tmp_path_factory.mktemp("sharded")
    config = pretrain_config(folder / "run", tokenizer, words, parallel="fsdp", **KEYS)
    (folder / "run.yaml").write_text(config.to_yaml(), "utf-8")
    (folder / "program.py").write_text(textwrap.dedent(SHARES), "utf-8")
    (folder / "shares").mkdir()
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    options = ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    more = ["--dynamo_backend", "no", "--main_process_port", "0"]
    program = [str(folder / name) for name in ("program.py", "run.yaml", "shares")]
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*launcher, *options, *more, *program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_two_processes_with_weights_dealt_out_learn_what_one_does(
    sharded: Path, alone: Path
) -> None:
    assert batches(sharded / "run") == batches(alone)
    assert furthest(sharded / "run", alone) < 1e-4
    written = [load_file(each / "model" / "model.safetensors") for each in (sharded / "run", alone)]
    assert written[0].keys() == written[1].keys()
    assert all((written[0][name] - written[1][name]).abs().max() < 1e-3 for name in written[1])


def test_each_process_holds_only_its_part_of_every_weight_and_moment(sharded: Path) -> None:
    first, second = (
        json.loads((sharded / "shares" / str(rank)).read_text("utf-8")) for rank in (0, 1)
    )
    assert len(first["shares"]) == first["all"] > 10
    assert first["moments"]
    assert second["moments"]
    for name, (whole, part, placement) in first["shares"].items():
        other = second["shares"][name][1]
        assert "Shard" in placement
        assert part[0] < whole[0]
        assert part[0] + other[0] == whole[0]
        assert part[1:] == whole[1:]


def test_a_run_with_weights_dealt_out_goes_on_from_its_checkpoint(
    tmp_path: Path, tokenizer: Path, words: Path, sharded: Path
) -> None:
    shutil.copytree(sharded / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-6")
    keys = KEYS | {"parallel": "fsdp"}
    config = pretrain_config(tmp_path / "run", tokenizer, words, **keys)
    config_file = tmp_path / "run" / "config.yaml"
    config_file.write_text(config.to_yaml(), "utf-8")
    with pytest.raises(TrainingError, match="step-4 was written with parallel=fsdp"):
        train(config.model_copy(update={"parallel": "ddp"}))
    code, output = run_command(config, tmp_path / "run.yaml", workers=2)
    assert code == 0, output
    steps = [line["step"] for line in log(tmp_path / "run") if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6, 5, 6]
    assert furthest(tmp_path / "run", sharded / "run") < 1e-6


def test_what_fails_in_a_process_is_said_in_one_line(
    tmp_path: Path, tokenizer: Path, words: Path
) -> None:
    config = pretrain_config(tmp_path / "run", tokenizer, words, batch={"size": 7})
    code, output = run_command(config, tmp_path / "run.yaml", workers=2)
    assert code == 1
    assert output.splitlines() == [
        "codeqa: `batch.size` 7 cannot be dealt out to 2 processes; set batch.size=6, or another "
        "multiple of 2"
    ]
