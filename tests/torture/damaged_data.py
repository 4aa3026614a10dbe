"""A program: damages copies of what codeqa keeps besides indexes, reads them, says what came of it.

    python -m tests.torture.damaged_data KIND FOLDER COUNT

FOLDER is whole; KIND says how it is read. Prints a line of JSON a case.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture.damage import Damage, content_damages, replacements
from tests.torture.trials import attempt

SCOPE = "/index"
MODEL_MEMORY_BYTES = 12 << 30  # of address space: torch's libraries alone take 4 GB of it


def read_history(folder: Path) -> Any:  # noqa: ANN401 - whatever is read, as JSON takes it
    """Read all conversations, and change some."""
    from app.history import FILE_NAME, History

    file = folder / FILE_NAME
    before = file.read_bytes() if file.is_file() else None
    try:
        history = History(file, scope=SCOPE)
        listed = history.list("ada")
        loaded = {each.id: str(history.load("ada", each.id)) for each in listed}
        found = [each.id for each in history.list("ada", "bucket")]
        voted = [str(each) for each in history.voted()]
        history.beat()
        if listed:
            history.rename("ada", listed[0].id, "another name")
        history.close()
    except BaseException:
        kept = file.read_bytes() if file.is_file() else None
        assert before is None or kept is not None, "the file of conversations is gone"
        raise
    return [[str(each) for each in listed], loaded, found, voted]


def read_dataset(folder: Path) -> Any:  # noqa: ANN401
    """Check a dataset's files against its manifest, and read its shards."""
    from data_tools.dataset import verify
    from data_tools.mds_reader import ShardFolder

    manifest = verify(folder)
    samples = {
        split: [
            sample["input_ids"].tolist() for sample in ShardFolder(str(folder / split)).samples()
        ]
        for split in manifest.splits
    }
    return [manifest.model_dump(mode="json"), samples]


def read_shards(folder: Path) -> Any:  # noqa: ANN401
    """Read shards that no manifest vouches for."""
    from data_tools.mds_reader import ShardFolder

    return [str(sample) for sample in ShardFolder(str(folder / "train")).samples()]


def read_corpus(folder: Path) -> Any:  # noqa: ANN401
    """Read a flattened repository."""
    from data_tools.documents import open_corpus, read_document

    corpus = open_corpus("txt", [str(folder)])
    return [[each.repo, each.path, read_document(each)] for each in corpus.documents]


def read_model(folder: Path) -> Any:  # noqa: ANN401
    """Load a language model, and let it score a text and answer."""
    from training.local_model import LocalModel

    model = LocalModel(str(folder), max_tokens=2)
    return [
        str(model.score(["def take(self): pass"])),
        model.answer([[{"role": "user", "content": "?"}]]),
    ]


def read_encoder(folder: Path) -> Any:  # noqa: ANN401
    """Load an embedding model, and embed a text."""
    from retrieval.embed import open_embedder

    return open_embedder(str(folder)).embed(["def take(self): pass"]).tolist()


READERS: dict[str, Callable[[Path], Any]] = {
    "history": read_history,
    "dataset": read_dataset,
    "shards": read_shards,
    "corpus": read_corpus,
    "model": read_model,
    "encoder": read_encoder,
}


def import_early(kind: str) -> None:
    """Import what a fork would else import anew each time; nothing of it starts threads."""
    if kind in ("model", "encoder"):
        import peft  # noqa: F401
        import sentence_transformers  # noqa: F401

        import training.local_model  # noqa: F401
    if kind in ("dataset", "shards"):
        from data_tools.mds import import_streaming

        import_streaming()


def list_damages(folder: Path) -> list[Damage]:
    """List all that is done to the files of a folder."""
    names = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    return [
        damage for name in names for damage in (*content_damages(folder, name), *replacements(name))
    ]


def main(kind: str, folder: Path, count: int) -> None:
    """Try some of the cases, and print what came of each."""
    import_early(kind)
    read = READERS[kind]
    damages = list_damages(folder)
    chosen = [damages[number * len(damages) // count] for number in range(min(count, len(damages)))]
    copy = folder.with_name(f"{folder.name}-copy")

    def answers() -> str:
        return json.dumps(read(copy))

    def tried(damage: Damage | None, case: Callable[[], str]) -> str:
        shutil.copytree(folder, copy)
        if damage:
            damage.apply(copy / damage.file)
        came = attempt(case, memory_bytes=MODEL_MEMORY_BYTES)
        shutil.rmtree(copy)
        return came

    whole = tried(None, answers)
    for damage in (None, *chosen):
        came = tried(damage, lambda: "same" if answers() == whole else "other")
        print(json.dumps({"damage": str(damage), "came": came}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
