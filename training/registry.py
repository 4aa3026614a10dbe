"""The registry of models: a name, versions of it, and aliases such as `champion`.

MLflow's, in the local SQLite file or on a server, or Databricks' Unity Catalog. The local registry
says where a model's folder is; a server gets a copy of it. Weights are checked against the hash
that was registered, whenever a model is looked up.
"""

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from data_tools.clone import cache_folder
from data_tools.drafts import whole_folder
from data_tools.errors import ModelError
from training.champion import CHAMPION, judge
from training.export_source import find_source, read_object
from training.hashes import model_hash
from training.lora import FACTS
from training.mlflow_store import (
    choose_registry,
    is_unity_catalog,
    local_folder,
    open_client,
    tracking_errors,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SCHEME = "models:/"
EXPERIMENT = "codeqa-models"  # on a server: where copies are kept
_HASH_TAG = "codeqa.weights_sha256"
_REFERENCE = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+|latest))")
_NAME = re.compile(r"\w[\w .-]*")


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    :param uri: what `--llm` and `codeqa serve` take.
    :param source: where its files are.
    """

    name: str
    version: int
    alias: str | None
    uri: str
    source: str
    weights_hash: str


def check_registration(
    folder: Path,
    name: str,
    *,
    alias: str | None = None,
    evaluation: Path | None = None,
    made_of: Collection[Path] = (),
    force: bool = False,
) -> None:
    """Refuse a name that the registry does not take, and a champion that is worse than its base.

    :param folder: what is to be registered; it need not be there yet.
    :param evaluation: the file that says how good it is.
    :param made_of: folders that the evaluation may name instead: the run, the adapter.
    :param force: give `champion` whatever an evaluation says.
    :raises ModelError: the name, or an evaluation that is missing or of another model.
    :raises WorseModelError: it does worse than its base.
    """
    if is_unity_catalog(choose_registry()):
        if not re.fullmatch(r"[^\s./]+\.[^\s./]+\.[^\s./]+", name):
            raise ModelError(
                f"Unity Catalog names a model by three levels, such as main.code.codeqa, not {name}"
            )
    elif not _NAME.fullmatch(name):
        raise ModelError(f"a model's name is letters, digits, dots and dashes, not {name!r}")
    if alias == CHAMPION and not force:
        judge(evaluation, folder, made_of)


def register_model(
    folder: Path,
    name: str,
    *,
    alias: str | None = None,
    evaluation: Path | None = None,
    made_of: Collection[Path] = (),
    force: bool = False,
) -> Registered:
    """Register an exported model or adapter; the same weights are not registered twice.

    :param alias: moved to this version; `champion` is given only to a model that is no worse
        than its base. The other parameters are those of `check_registration`.
    :raises ModelError: a name or folder that cannot be registered, or no evaluation.
    :raises WorseModelError: it does worse than its base.
    :raises TrackingError: the registry does not answer, or refuses.
    """
    check_registration(
        folder, name, alias=alias, evaluation=evaluation, made_of=made_of, force=force
    )
    folder = find_source(folder).folder.resolve()
    facts = read_object(folder / FACTS)
    digest = model_hash(folder)
    uri = choose_registry()
    client = open_client(uri)
    with tracking_errors(uri):
        version = _find_version(client, name, digest, folder, uri)
        if version is None:
            tags = {_HASH_TAG: digest, "codeqa.folder": str(folder)}
            for key in ("kind", "base", "base_sha256", "objective", "method"):
                if facts.get(key):
                    tags[f"codeqa.{key}"] = str(facts[key])
            _make_name(client, name)
            with _source(client, folder, uri) as (source, run_id):
                version = client.create_model_version(name, source, run_id=run_id, tags=tags)
        if alias:
            client.set_registered_model_alias(name, alias, str(version.version))
    number = int(version.version)
    shown = f"{SCHEME}{name}@{alias}" if alias else f"{SCHEME}{name}/{number}"
    return Registered(name, number, alias, shown, str(version.source), digest)


def resolve_model(reference: str) -> str:
    """Find the folder of a registered model; anything but `models:/…` is returned as it is.

    A model on a server is downloaded once, into the cache.

    :param reference: `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `models:/NAME/latest`.
    :return: the folder's path.
    :raises ModelError: there is none of that name, its folder is gone, or its weights changed.
    :raises TrackingError: the registry does not answer.
    """
    if not reference.startswith(SCHEME):
        return reference
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise ModelError(
            f"{reference} must look like models:/codeqa@{CHAMPION} or models:/codeqa/3"
        )
    uri = choose_registry()
    client = open_client(uri)
    with tracking_errors(uri):
        version = _look_up(client, reference, *match.groups())
        digest = version.tags.get(_HASH_TAG)
        folder = _local_source(str(version.source))
        if folder is None:
            folder = _download(client, version, uri)
    if not folder.is_dir():
        raise ModelError(
            f"{reference} was in {folder}, which is gone; export and register it again"
        )
    if digest and model_hash(folder) != digest:
        raise ModelError(
            f"{folder} holds other weights than were registered as {reference}; register it again"
        )
    return str(folder)


def _make_name(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find_version(
    client: "MlflowClient", name: str, digest: str, folder: Path, uri: str
) -> "ModelVersion | None":
    """The version that these weights are registered as already."""
    for version in client.search_model_versions(f"name='{name}'"):
        is_here = local_folder(uri) is None or _local_source(str(version.source)) == folder
        if version.tags.get(_HASH_TAG) == digest and is_here:
            return version
    return None


@contextmanager
def _source(client: "MlflowClient", folder: Path, uri: str) -> Iterator[tuple[str, str | None]]:
    """Yield where the registry finds the files, and the run that holds them."""
    if local_folder(uri) is not None:
        yield folder.as_uri(), None
    elif is_unity_catalog(uri):
        with tempfile.TemporaryDirectory(prefix="codeqa-") as draft:
            yield str(describe_for_unity_catalog(folder, Path(draft))), None
    else:
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        run = client.create_run(experiment, run_name=folder.name)
        client.log_artifacts(run.info.run_id, str(folder), "model")
        client.set_terminated(run.info.run_id)
        yield f"{run.info.artifact_uri}/model", str(run.info.run_id)


def describe_for_unity_catalog(folder: Path, draft: Path) -> Path:
    """Link a model's files, and add what Unity Catalog insists on: its inputs and outputs.

    :param draft: an empty folder.
    :return: that folder.
    """
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    for file in folder.rglob("*"):
        if file.is_file():
            place = draft / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)
    text = Schema([ColSpec(DataType.string)])
    description: Any = Model(signature=ModelSignature(inputs=text, outputs=text))
    description.add_flavor("codeqa", format="huggingface")
    description.save(str(draft / "MLmodel"))
    return draft


def _look_up(
    client: "MlflowClient", reference: str, name: str, alias: str | None, number: str | None
) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        if number != "latest":
            return client.get_model_version(name, str(number))
        versions = list(client.search_model_versions(f"name='{name}'"))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        versions = []
    if not versions:
        raise ModelError(
            f"there is no model {reference}; register one with `codeqa export RUN --out DIR "
            f"--register {name}`, or see `codeqa runs`"
        )
    return max(versions, key=lambda version: int(version.version))


def _local_source(source: str) -> Path | None:
    parts = urlsplit(source)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _download(client: "MlflowClient", version: "ModelVersion", uri: str) -> Path:
    """Download a version into the cache, whole or not at all."""
    from mlflow.artifacts import download_artifacts

    key = (version.tags.get(_HASH_TAG) or str(version.creation_timestamp))[:16]
    place = cache_folder() / "models" / f"{version.name}-{version.version}-{key}"
    if not (place / FACTS).is_file():
        with whole_folder(place, FACTS) as draft:
            if is_unity_catalog(uri):
                address = f"{SCHEME}{version.name}/{version.version}"
                download_artifacts(address, dst_path=str(draft), registry_uri=uri)
            else:
                address = client.get_model_version_download_uri(version.name, version.version)
                download_artifacts(address, dst_path=str(draft), tracking_uri=uri)
            _lift(draft)
    return place


def _lift(draft: Path) -> None:
    """Take what was downloaded out of a folder of its own, if MLflow made one."""
    inner = [path for path in draft.iterdir() if path.is_dir()]
    if len(inner) == 1 and (inner[0] / FACTS).is_file():
        for path in inner[0].iterdir():
            path.rename(draft / path.name)
        inner[0].rmdir()
