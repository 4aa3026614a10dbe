"""A registered model is found again by its name; a worse one does not become champion."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from data_tools.clone import cache_folder
from data_tools.errors import ModelError, TrackingError, WorseModelError
from tests.tiny_model import make_tiny_adapter, make_tiny_model
from tests.training.mlflow_stores import make_store, mlflow_server
from training.champion import judge
from training.export import export_model
from training.hashes import model_hash
from training.mlflow_store import choose_registry, open_client
from training.registry import describe_for_unity_catalog, register_model, resolve_model


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    return make_store()


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    make_tiny_model(tmp_path / "base")
    export_model(tmp_path / "base", tmp_path / "tuned")
    return tmp_path / "tuned"


def write_evaluation(
    folder: Path, *, base: float | None = 0.4, tuned: float = 0.5, part: str = "pairs"
) -> Path:
    """Write what `codeqa eval model --out` writes, as far as it counts here."""
    difference = None if base is None else tuned - base
    row = {"part": part, "metric": "token_f1", "n": 40, "difference": difference, "low": -1.0}
    content = {
        "model": str(folder),
        "base": "base",
        "rows": [{**row, "base": base, "tuned": tuned}],
    }
    file = folder.parent / "evaluation.json"
    file.write_text(json.dumps(content))
    return file


def change_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_model_is_found_by_alias_version_and_as_the_latest(exported: Path) -> None:
    first = register_model(exported, "codeqa", alias="candidate")
    assert (first.version, first.uri) == (1, "models:/codeqa@candidate")
    for reference in (first.uri, "models:/codeqa/1", "models:/codeqa/latest"):
        assert resolve_model(reference) == str(exported)
    assert first.weights_hash == model_hash(exported)


def test_the_same_weights_are_one_version_and_an_alias_moves(exported: Path) -> None:
    register_model(exported, "codeqa", alias="candidate")
    assert register_model(exported, "codeqa").version == 1
    other = exported.with_name("other")
    shutil.copytree(exported, other)
    change_weights(other)
    assert register_model(other, "codeqa", alias="candidate").version == 2
    assert resolve_model("models:/codeqa@candidate") == str(other)
    assert resolve_model("models:/codeqa/1") == str(exported)


def test_a_folder_or_hub_name_stays_what_it_is() -> None:
    assert resolve_model("Qwen/Qwen3-4B") == "Qwen/Qwen3-4B"
    assert resolve_model("models/mine") == "models/mine"


def test_what_is_not_registered_is_told_of(exported: Path) -> None:
    for reference in ("models:/codeqa@champion", "models:/codeqa/1", "models:/codeqa/latest"):
        with pytest.raises(ModelError, match=r"no model models:/codeqa.*--register codeqa"):
            resolve_model(reference)
    with pytest.raises(ModelError, match="must look like models:/codeqa@champion"):
        resolve_model("models:/codeqa")


def test_a_folder_that_is_gone_or_changed_is_told_of(exported: Path) -> None:
    uri = register_model(exported, "codeqa").uri
    change_weights(exported)
    with pytest.raises(ModelError, match="holds other weights than were registered"):
        resolve_model(uri)
    shutil.rmtree(exported)
    with pytest.raises(ModelError, match="which is gone"):
        resolve_model(uri)


def test_a_name_that_mlflow_does_not_take_is_refused(exported: Path) -> None:
    for name in ("a/b", "", "a'b", "a:b"):
        with pytest.raises(ModelError, match="letters, digits"):
            register_model(exported, name)


def test_a_better_model_becomes_champion(exported: Path) -> None:
    made = register_model(
        exported, "codeqa", alias="champion", evaluation=write_evaluation(exported)
    )
    assert made.uri == "models:/codeqa@champion"
    assert resolve_model(made.uri) == str(exported)


def test_a_worse_model_does_not_become_champion_unless_forced(exported: Path) -> None:
    evaluation = write_evaluation(exported, base=0.5, tuned=0.4)
    with pytest.raises(WorseModelError, match=r"is 0\.400 and was 0\.500 \(40 pairs\)"):
        register_model(exported, "codeqa", alias="champion", evaluation=evaluation)
    with pytest.raises(ModelError, match="no model"):
        resolve_model("models:/codeqa@champion")
    register_model(exported, "codeqa", alias="champion", evaluation=evaluation, force=True)
    assert resolve_model("models:/codeqa@champion") == str(exported)


def test_a_worse_model_leaves_the_champion_that_there_is(exported: Path) -> None:
    register_model(exported, "codeqa", alias="champion", evaluation=write_evaluation(exported))
    worse = exported.with_name("worse")
    shutil.copytree(exported, worse)
    change_weights(worse)
    with pytest.raises(WorseModelError):
        register_model(
            worse, "codeqa", alias="champion", evaluation=write_evaluation(worse, tuned=0.1)
        )
    assert resolve_model("models:/codeqa@champion") == str(exported)


def test_a_champion_needs_an_evaluation_of_its_own(exported: Path) -> None:
    with pytest.raises(ModelError, match=r"run `codeqa eval model \S+ --base BASE --pairs DIR"):
        judge(None, exported)
    with pytest.raises(ModelError, match="cannot read"):
        judge(exported / "none.json", exported)
    with pytest.raises(ModelError, match="no evaluation of a model"):
        judge(exported / "config.json", exported)
    other = write_evaluation(exported.with_name("other"))
    with pytest.raises(ModelError, match="is an evaluation of"):
        judge(other, exported)
    with pytest.raises(ModelError, match="compares no token_f1"):
        judge(write_evaluation(exported, base=None), exported)
    with pytest.raises(ModelError, match="compares no token_f1"):
        judge(write_evaluation(exported, part="questions:composer"), exported)


def test_an_evaluation_of_the_adapter_counts_for_the_merged_model(exported: Path) -> None:
    adapter = exported.with_name("adapter")
    file = write_evaluation(adapter)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"model": f"Qwen/Qwen3-4B + {adapter}"}))
    assert judge(file, exported, [adapter]).n == 40
    with pytest.raises(ModelError, match="is an evaluation of"):
        judge(file, exported)


def test_an_evaluation_of_other_weights_in_the_same_folder_does_not_count(exported: Path) -> None:
    file = write_evaluation(exported)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"weights_sha256": model_hash(exported)}))
    assert judge(file, exported).tuned == 0.5
    change_weights(exported)
    with pytest.raises(ModelError, match="is an evaluation of"):
        judge(file, exported)


def test_an_adapter_is_registered_too(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base")
    export_model(make_tiny_adapter(tmp_path / "adapter", base), tmp_path / "out")
    register_model(tmp_path / "out", "codeqa-adapter")
    version = open_client(choose_registry()).get_model_version("codeqa-adapter", "1")
    assert version.tags["codeqa.kind"] == "adapter"
    assert version.tags["codeqa.base"] == str(base)


def test_a_server_gets_a_copy_that_is_downloaded_once(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = model_hash(exported)
    with mlflow_server(tmp_path / "server") as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        made = register_model(
            exported, "codeqa", alias="champion", evaluation=write_evaluation(exported)
        )
        shutil.rmtree(exported)
        folder = Path(resolve_model(made.uri))
        assert model_hash(folder) == digest
        assert (folder / "tokenizer_config.json").is_file()
        assert folder.is_relative_to(cache_folder())
        shutil.rmtree(tmp_path / "server/files")  # what is here is not fetched again
        assert resolve_model(made.uri) == str(folder)
        assert register_model(folder, "codeqa").version == 1
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match="does not answer"):
        resolve_model(made.uri)


def test_unity_catalog_wants_three_levels(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    assert choose_registry() == "databricks-uc"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "databricks-uc://profile")
    assert choose_registry() == "databricks-uc://profile"
    for name in ("codeqa", "main.codeqa", "main..codeqa", "a.b.c.d"):
        with pytest.raises(ModelError, match="three levels"):
            register_model(exported, name)


def test_unity_catalog_gets_the_files_and_what_goes_in_and_out(
    tmp_path: Path, exported: Path
) -> None:
    from mlflow.models import Model

    (tmp_path / "draft").mkdir()
    folder = describe_for_unity_catalog(exported, tmp_path / "draft")
    assert model_hash(folder) == model_hash(exported)
    signature = Model.load(str(folder / "MLmodel")).signature
    assert signature is not None
    assert signature.outputs is not None
    assert not (exported / "MLmodel").exists()
