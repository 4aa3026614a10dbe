"""A program: damages copies of an index, asks them, updates them, and says what came of it.

    python -m tests.torture.damaged_index FOLDER FORM COUNT PART OF

FOLDER holds `index`, `other`, and the sources of both; FORM is `noticed` or `unnoticed`. Prints a
line of JSON a case: what was done, what the index said then, and what after an update.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from retrieval import CodeIndex, generations
from retrieval.build import EMBEDDINGS, VECTORS
from retrieval.index import index_repositories
from retrieval.search import SearchMode
from tests.fakes import FakeEncoder
from tests.torture.damage import (
    Damage,
    alter_unnoticed,
    content_damages,
    replacements,
    swaps,
)
from tests.torture.trials import attempt

QUESTIONS = ("token bucket", "How long does a client wait?", "RateLimitMiddleware", "module_3")
K = 8
MODES: tuple[SearchMode, ...] = get_args(SearchMode)

Answers = dict[str, Any]
Result = dict[str, str]


def ask(folder: Path) -> Answers:
    """Open an index and ask it whatever can be asked of it."""
    with CodeIndex.open(folder, embedder=FakeEncoder()) as index:
        name = index.manifest.repositories[0].name
        hits = {
            f"{mode} {question}": index.search(question, K, mode=mode)
            for question in QUESTIONS
            for mode in MODES
        }
        hits["filtered"] = index.search(QUESTIONS[0], K, path_glob="limits/**", repos=[name])
        paths = sorted({chunk.path for chunk in index.chunks()})
        return {
            "hits": {key: [asdict(hit) for hit in found] for key, found in hits.items()},
            "files": {path: index.file_text(name, path) for path in paths},
            "languages": [list(each) for each in index.languages()],
            "rarity": index.rarity(["token"]),
        }


def compare(found: Answers, whole: Answers) -> str:
    """Tell whether answers are those of the whole index, true but in another order, or false."""
    if found == whole:
        return "same"
    if found["files"] != whole["files"]:
        return "false: other files"
    for key, hits in found["hits"].items():
        for chunk in (hit["chunk"] for hit in hits):
            lines = whole["files"].get(chunk["path"], "").splitlines(keepends=True)
            if "".join(lines[chunk["start_line"] - 1 : chunk["end_line"]]) != chunk["text"]:
                return f"false: {key} found lines that are not there"
    return "other order"


def list_damages(folder: Path, *, unnoticed: bool) -> Iterator[Damage]:
    """List all that is done to an index, file by file.

    :param unnoticed: only what may befall a large file, and keeps its size.
    """
    index, other = folder / "index", folder / "other"
    current = generations.current_generation(index)
    checked = {current / name for name in generations.read_manifest(current).files}
    files = sorted(file for file in index.rglob("*") if file.is_file())
    foreign = sorted(file for file in other.rglob("*") if file.is_file())
    in_use = [file for file in files if file.parent == index or file.is_relative_to(current)]
    for file in in_use:
        if unnoticed and file not in checked:
            continue
        name, size = file.relative_to(index).as_posix(), file.stat().st_size
        twins = [each for each in foreign if _kind(each) == _kind(file)]
        like = [each for each in files if each.stat().st_size == size or _kind(each) == _kind(file)]
        for damage in (*content_damages(index, name), *swaps(index, name, [*twins, *like])):
            if damage.keeps_size or not unnoticed:
                yield damage
        if not unnoticed:
            yield from replacements(name)
    if not unnoticed:
        for place in sorted(path for path in index.rglob("*") if path.is_dir()):
            yield from replacements(place.relative_to(index).as_posix())


def _kind(file: Path) -> str:
    return file.suffix or file.name


def try_one(folder: Path, copy: Path, damage: Damage, whole: Answers, *, unnoticed: bool) -> Result:
    """Damage a copy of the index; ask it, update it, and ask it again."""
    shutil.copytree(folder / "index", copy)
    try:
        if unnoticed:
            generation = generations.current_generation(copy)
            generations.verify_files(generation, generations.read_manifest(generation))
            alter_unnoticed(damage, copy / damage.file)
        else:
            damage.apply(copy / damage.file)
        if damage.file == EMBEDDINGS:  # else an update has no use for it
            (generations.current_generation(copy) / VECTORS).unlink()
        asked = attempt(lambda: compare(ask(copy), whole))
        # What is in force and harmed no answer is not read by an update either.
        is_idle = asked == "same" and damage.file.startswith("generation-")
        updated = asked if is_idle else attempt(lambda: _update(copy, whole))
    finally:
        shutil.rmtree(copy)
    return {"damage": str(damage), "asked": asked, "updated": updated}


def _update(folder: Path, whole: Answers) -> str:
    index_repositories((), folder, embedder=FakeEncoder())
    return compare(ask(folder), whole)


def main(folder: Path, form: str, count: int, part: int, parts: int) -> None:
    """Try a part of the cases, and print what came of each."""
    unnoticed = form == "unnoticed"
    if unnoticed:
        generations.ALWAYS_HASHED_BYTES = -1  # as if every file were a large one
    damages = list(list_damages(folder, unnoticed=unnoticed))
    chosen = [damages[number * len(damages) // count] for number in range(min(count, len(damages)))]
    whole = json.loads(attempt(lambda: json.dumps(ask(folder / "index"))))
    for damage in chosen[part::parts]:
        copy = folder / f"copy-{part}"
        print(json.dumps(try_one(folder, copy, damage, whole, unnoticed=unnoticed)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
