"""What is to be served: a model on this machine, and adapters that fit it.

A Hugging Face name is downloaded first, with its progress on the terminal, so that a server starts
or fails within seconds. Adapters are checked against the model's weights before it starts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.errors import LanguageModelError


@dataclass(frozen=True)
class ServedAdapter:
    """A LoRA adapter.

    :param name: by which it is asked for.
    :param rank: of its matrices.
    """

    name: str
    folder: Path
    rank: int


@dataclass(frozen=True)
class Served:
    """A model, and the adapters that are served beside it.

    :param name: by which the model is asked for.
    :param embedding: it turns texts to vectors, instead of answering them.
    """

    name: str
    folder: Path
    adapters: tuple[ServedAdapter, ...] = ()
    embedding: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What can be asked for: the model, then its adapters."""
        return (self.name, *(adapter.name for adapter in self.adapters))


def find_served(model: str, adapters: Sequence[str] = (), *, embedding: bool = False) -> Served:
    """Find a model and its adapters; of an adapter's own folder, its base and the adapter.

    :param model: a folder (a model, an adapter, a run of `codeqa train`), a Hugging Face name, or
        `models:/NAME@ALIAS`; for embedding also the name of the packaged model.
    :param adapters: each as `NAME=FOLDER`, or `NAME=models:/…`.
    :raises CodeQAError: one of them is not there, is damaged, or does not fit.
    """
    if embedding:
        if adapters:
            raise LanguageModelError("an embedding model has no adapters: leave --adapter out")
        return Served(_short_name(model), _find_embedder(model), embedding=True)
    named = [_split(text) for text in adapters]
    folder = _find_folder(model)
    name = _short_name(model)
    if _is_adapter(folder):
        named.insert(0, (name, folder))
        model = _base_of(folder)
        folder, name = _find_folder(model), _short_name(model)
    served = Served(name, folder, tuple(_check(*each, folder) for each in named))
    for each in served.names:
        if served.names.count(each) > 1:
            raise LanguageModelError(
                f"two models would be called {each}: give the adapter another name, with "
                "--adapter NAME=FOLDER"
            )
    return served


def _split(text: str) -> tuple[str, Path]:
    """Read `NAME=FOLDER`."""
    name, _, place = text.partition("=")
    if not place or not re.fullmatch(r"[\w./-]+", name):
        raise LanguageModelError(
            f"--adapter is not {text}: write NAME=FOLDER, as in tuned=models/chat"
        )
    return name, _find_folder(place)


def _short_name(model: str) -> str:
    """What the model is called: as it is registered, as on the hub, or like its folder."""
    if match := re.fullmatch(r"models:/([^/@]+)[/@].+", model):
        return match[1]
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.exists() else model


def _find_folder(model: str) -> Path:
    """Find the folder with the weights of a model or adapter."""
    from training.export_source import find_source
    from training.registry import resolve_model

    folder = Path(resolve_model(model)).expanduser()
    if folder.exists():
        return find_source(folder).folder.resolve()
    from huggingface_hub import snapshot_download

    from app.llm_folder import DOWNLOADED, NOT_DOWNLOADED

    try:
        return Path(
            snapshot_download(model, allow_patterns=DOWNLOADED, ignore_patterns=NOT_DOWNLOADED)
        )
    except Exception as error:  # the boundary: misspelt, private, offline, disk full
        shown = model.rpartition("@")[2]  # it may be a URL with a password, but misspelt
        raise LanguageModelError(
            f"{shown!r} is no folder here, and the Hugging Face hub does not offer it or cannot be "
            "reached: correct it, or download the model where there is a network"
        ) from error


def _find_embedder(model: str) -> Path:
    from retrieval.embed import DEFAULT_EMBEDDER, packaged_folder
    from retrieval.model_files import download_model
    from training.registry import resolve_model

    if model == DEFAULT_EMBEDDER:
        return packaged_folder()
    folder = Path(resolve_model(model)).expanduser()
    return folder.resolve() if folder.is_dir() else download_model(model)


def _is_adapter(folder: Path) -> bool:
    from training.lora import ADAPTER_CONFIG

    return (folder / ADAPTER_CONFIG).is_file()


def _base_of(adapter: Path) -> str:
    from training.export_source import read_object
    from training.lora import ADAPTER_CONFIG, FACTS

    facts, config = read_object(adapter / FACTS), read_object(adapter / ADAPTER_CONFIG)
    base = facts.get("base") or config.get("base_model_name_or_path")
    if not isinstance(base, str):
        raise LanguageModelError(
            f"{adapter} does not say what it adapts: serve that model, and this as --adapter"
        )
    return base


def _check(name: str, folder: Path, base: Path) -> ServedAdapter:
    from training.adapters import list_adapters

    found = list_adapters([folder], base) if _is_adapter(folder) else []
    if not found:
        raise LanguageModelError(f"{folder} is no adapter: correct --adapter {name}=…")
    if found[0].problem or not found[0].rank:
        raise LanguageModelError(
            f"the adapter {name} does not fit {base.name}: {found[0].problem or 'it has no rank'}; "
            "serve the model that it was trained on"
        )
    return ServedAdapter(name, folder, found[0].rank)
