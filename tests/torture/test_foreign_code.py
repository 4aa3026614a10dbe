"""Canaries in folders of models, indexes, checkpoints and datasets: none of them is ever run.

What happens instead is an error of one line, or the safe files beside are used.
"""

import contextlib
import importlib
import json
import pickle
import shutil
import struct
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
import torch

from data_tools.errors import CodeQAError, DatasetError, TrainingError
from data_tools.mds import Sample, ShardSettings, write_shards
from data_tools.mds_reader import ShardFolder
from retrieval import CodeIndex
from retrieval.generations import current_generation
from tests.fakes import FakeEncoder
from tests.tiny_model import make_tiny_adapter, make_tiny_model
from tests.torture.canaries import (
    LIBRARY,
    Canary,
    Plant,
    adapter_plants,
    breakouts,
    encoder_plants,
    model_plants,
    program,
    torch_pickle,
)
from tests.torture.conftest import Cases, Tally
from tests.training.mlflow_stores import make_store
from tests.training.runs import pretrain_config
from tests.training.tiny_encoder import make_tiny_encoder
from tests.training.tiny_stream import make_stream
from training.config import Data, TrainConfig
from training.conversations import read_pairs
from training.train import train

WEIGHTS = "model.safetensors"
MESSAGES: list[Any] = [{"role": "user", "content": "Where is auth?"}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    return make_tiny_adapter(tmp_path_factory.mktemp("adapters") / "adapter", model)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("encoders") / "encoder")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is there once a canary was run; a module of theirs can be imported."""
    library, ran = tmp_path / "library", tmp_path / "ran"
    library.mkdir()
    (library / f"{LIBRARY}.py").write_text(program(ran))
    monkeypatch.syspath_prepend(library)
    monkeypatch.chdir(library)  # as if codeqa were started in a hostile folder
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return ran


def load_encoder(folder: Path) -> None:
    from retrieval.embed import open_embedder

    open_embedder(str(folder)).embed(["text"])


def open_tuned_encoder(folder: Path) -> None:
    from training.retriever_fit import open_model

    open_model(folder, 64)


def chat(folder: Path) -> None:
    from app.llm import open_chat_model

    opened = open_chat_model(str(folder), max_tokens=2)
    assert opened is not None
    opened.invoke("Where is auth?")


def evaluate(folder: Path) -> None:
    from training.local_model import LocalModel

    opened = LocalModel(str(folder), max_tokens=2)
    opened.answer([MESSAGES])
    opened.score(["text"])


def start_training(folder: Path) -> None:
    from training.config import Model
    from training.model import load_tokenizer, read_model

    described = Model(name=str(folder))
    read_model(described, load_tokenizer(described))


def tokenize(folder: Path) -> None:
    from data_tools.tokenizer import load_tokenizer, tokenizer_hash

    tokenizer_hash(load_tokenizer(str(folder)))


def export(folder: Path) -> None:
    from training.export import export_model

    export_model(folder, folder.with_name("exported"))


def merge(folder: Path) -> None:
    from training.export import export_model

    export_model(folder, folder.with_name("merged"), merge=True)


def list_adapters(folder: Path) -> None:
    from training import adapters

    adapters.list_adapters([folder.parent])


def register(folder: Path) -> None:
    from training.registry import register_model, resolve_model

    evaluate(Path(resolve_model(register_model(folder, "planted", alias="tried").uri)))


def try_plants(
    whole: Path,
    plants: Sequence[Plant],
    load: Callable[[Path], None],
    ran: Path,
    count: int,
) -> dict[str, int]:
    """Load a folder after each plant, some of them if `count` is less; return what came of it."""
    chosen = [plants[number * len(plants) // count] for number in range(min(count, len(plants)))]
    outcomes = {"plants": 0, "refused": 0, "safe_files_used": 0, "run": 0}
    for number, plant in enumerate(chosen):
        folder = ran.parent / f"{load.__name__}-{number}" / "folder"
        shutil.copytree(whole, folder)
        plant.apply(folder, ran)
        try:
            load(folder)
        except CodeQAError as error:
            assert str(error).isprintable(), plant.name
            outcomes["refused"] += 1
        else:
            outcomes["safe_files_used"] += 1
        outcomes["plants"] += 1
        assert not ran.exists(), f"{load.__name__} ran what was planted: {plant.name}"
        shutil.rmtree(folder.parent)
    assert LIBRARY not in sys.modules
    return outcomes


def test_canaries_would_sing_if_they_were_run(ran: Path, tmp_path: Path) -> None:
    def sings(act: Callable[[], object]) -> bool:
        act()
        found = ran.exists()
        ran.unlink(missing_ok=True)
        return found

    archive = tmp_path / "archive.pt"
    archive.write_bytes(torch_pickle(ran))
    assert sings(lambda: pickle.loads(pickle.dumps(Canary(ran))))
    assert sings(lambda: torch.load(archive, weights_only=False))
    assert sings(lambda: importlib.import_module(LIBRARY))
    del sys.modules[LIBRARY]

    def render(template: str) -> None:
        names = {"messages": MESSAGES, "raise_exception": pytest.fail, "tojson": json.dumps}
        with contextlib.suppress(jinja2.TemplateError, AttributeError, TypeError, KeyError):
            jinja2.Environment().from_string(template).render(**names)

    assert sum(sings(partial(render, each)) for each in breakouts(ran)) >= 6


@pytest.mark.parametrize("load", [load_encoder, open_tuned_encoder])
def test_code_in_an_embedding_model_is_not_run(
    load: Callable[[Path], None], encoder: Path, ran: Path, cases: Cases, tally: Tally
) -> None:
    plants = [*model_plants(WEIGHTS), *encoder_plants()]
    tally(f"foreign code: {load.__name__}", **try_plants(encoder, plants, load, ran, cases(12, 99)))


@pytest.mark.parametrize("load", [chat, evaluate, start_training, tokenize, export, register])
def test_code_in_a_language_model_is_not_run(
    load: Callable[[Path], None],
    model: Path,
    ran: Path,
    cases: Cases,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    if load is register:
        make_store()
    plants = list(model_plants(WEIGHTS))
    tally(f"foreign code: {load.__name__}", **try_plants(model, plants, load, ran, cases(6, 99)))


@pytest.mark.parametrize("load", [chat, evaluate, merge, export, list_adapters])
def test_code_in_an_adapter_is_not_run(
    load: Callable[[Path], None], adapter: Path, ran: Path, cases: Cases, tally: Tally
) -> None:
    plants = [*adapter_plants(), *model_plants("adapter_model.safetensors")]
    outcomes = try_plants(adapter, plants, load, ran, cases(6, 99))
    tally(f"foreign code: {load.__name__} of an adapter", **outcomes)


@pytest.mark.parametrize("load", [chat, evaluate])
def test_a_chat_template_can_run_nothing(
    load: Callable[[Path], None], model: Path, ran: Path, tally: Tally
) -> None:
    def plant(template: str) -> Plant:
        return Plant(template, lambda folder, _: _write_template(folder, template))

    plants = [plant(template) for template in breakouts(ran)]
    outcomes = try_plants(model, plants, load, ran, len(plants))
    tally(f"foreign code: chat templates, {load.__name__}", **outcomes)


def _write_template(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[TrainConfig, Path]:
    """A run with a checkpoint after its third step, and a copy of its folder."""
    folder = tmp_path_factory.mktemp("runs")
    stream = make_stream(folder / "words", model)
    config = pretrain_config(folder / "run", model, stream, duration="4ba")
    train(config)
    for place in ("model", "checkpoints/step-4"):
        shutil.rmtree(folder / "run" / place, ignore_errors=True)
    shutil.copytree(folder / "run", folder / "copy")
    return config, folder / "copy"


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("archive", [False, True], ids=["pickle", "archive"])
@pytest.mark.parametrize(
    "name",
    ["optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors", "training_args.bin"],
)
def test_a_run_that_goes_on_runs_nothing_of_its_checkpoint(
    name: str, archive: bool, stopped_run: tuple[TrainConfig, Path], ran: Path
) -> None:
    config, copy = stopped_run
    output = Path(str(config.output))
    shutil.rmtree(output)
    shutil.copytree(copy, output)
    checkpoint = output / "checkpoints" / "step-3"
    (checkpoint / name).write_bytes(torch_pickle(ran) if archive else pickle.dumps(Canary(ran)))
    if name == "training_args.bin":  # codeqa writes none, and reads none
        assert train(config).status == "finished"
    else:
        with pytest.raises(TrainingError, match=r"step-3 is damaged .* remove its folder"):
            train(config)
    assert not ran.exists()


def test_loading_scripts_and_pickles_of_a_dataset_are_not_run(tmp_path: Path, ran: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "dataset.py").write_text(program(ran))
    (folder / "data.pkl").write_bytes(pickle.dumps(Canary(ran)))
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  builder_name: pandas\n"
        "  data_files: data.pkl\n---\n"
    )
    with pytest.raises(DatasetError, match="cannot load the dataset"):
        read_pairs(Data(pairs=[f"hf://{folder}"]), seed=17)
    assert not ran.exists()


@pytest.mark.parametrize("encoding", ["pkl", "pickle", "ndarray:object", "ndarray:object:8"])
def test_columns_of_shards_are_not_unpickled(encoding: str, tmp_path: Path, ran: Path) -> None:
    folder = tmp_path / "shards"
    write_shards([Sample(input_ids=np.zeros(8, np.int32), length=8)], folder, ShardSettings(8))
    index = json.loads((folder / "index.json").read_text())
    content = pickle.dumps(Canary(ran))
    data = struct.pack("<3I", 1, 12, 12 + len(content)) + content  # one sample, and where it stands
    (folder / "planted.mds").write_bytes(data)
    index["shards"][0] |= {
        "column_encodings": [encoding],
        "column_names": ["text"],
        "column_sizes": [len(content)],
        "compression": None,
        "zip_data": None,
        "hashes": [],
        "raw_data": {"basename": "planted.mds", "bytes": len(data), "hashes": {}},
    }
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(DatasetError):
        list(ShardFolder(str(folder)).samples())
    assert not ran.exists()


def test_pickles_and_programs_in_an_index_are_not_run(
    ran: Path, tmp_path: Path, tiny_repo: Path, fake_encoder: FakeEncoder
) -> None:
    CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder).close()
    for plant in model_plants("manifest.json"):
        if plant.name in ("pickles beside", "archives of torch beside", "programs beside"):
            for place in (tmp_path / "index", current_generation(tmp_path / "index")):
                plant.apply(place, ran)
    with CodeIndex.open(tmp_path / "index", embedder=fake_encoder) as index:
        assert index.search("token bucket")
        index.verify()
        index.update()
    assert not ran.exists()
