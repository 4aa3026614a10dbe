"""All that is measured, one part after another: `make bench`.

    make bench                                  # clones what it asks about
    make bench CLONES=~/clones                  # uses ~/clones/composer, ~/clones/pylint, …
    make bench PARTS="speed quality"            # some of it

- speed: words, indexing and asking, beside a baseline; answers by quotation (10 minutes)
- quality: the development questions, words and vectors alone beside the whole (5 minutes)
- tuning: `codeqa tune-retriever` on three repositories, each measured on files set aside (30)
- scale: what an index costs, up to a million chunks (30)
- serving: how soon the app answers over 100,000 chunks, alone and with fifty people at once (10)
- abstention: how rightly it says that there is no answer (15)
- ablation: quality again, with one part changed at a time (an hour; only if named)
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app import cli
from benchmarks import ablation, abstention, run, scale, serving, words
from benchmarks.development import SETS
from benchmarks.questions import COMPOSER_QUESTIONS

DEFAULT_PARTS = ("speed", "quality", "tuning", "scale", "serving", "abstention")
PARTS = (*DEFAULT_PARTS, "ablation")
SERVED_CHUNKS = 100_000
TUNED = ("composer", "pylint", "sphinx")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts and print what comes out; 1 if one of them could not be measured."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=DEFAULT_PARTS, metavar="PART")
    parser.add_argument("--clones", type=Path, metavar="FOLDER", help="of clones, by name")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    failed = 0
    for part in options.parts:
        print(f"\n## {part.capitalize()}\n", flush=True)
        failed |= _measure(part, _find_clones(options.clones))
    return failed


def _find_clones(folder: Path | None) -> dict[str, str]:
    """Map the names of repositories, without their owners, to clones that are there."""
    names = [each.repository.split("/")[-1] for each in SETS]
    return {name: str(folder / name) for name in names if folder and (folder / name).exists()}


def _measure(part: str, clones: dict[str, str]) -> int:
    composer = clones.get("composer", SETS[0].url)
    given = [f"--clone={name}={path}" for name, path in clones.items()]
    if part == "speed":
        slow = words.main([_locate(name, clones) for name in TUNED])
        print()
        return max(slow, run.main(["--composer", composer]))
    if part == "quality":
        shown = ("words alone (BM25)", "vectors alone", "no names in the vectors, vectors alone")
        return ablation.main([*given, *(f"--only={label}" for label in shown)])
    if part == "ablation":
        return ablation.main(given)
    if part == "scale":
        return scale.main(["--repo", f"{composer}@{SETS[0].commit}"])
    if part == "serving":
        return _serve(f"{composer}@{SETS[0].commit}")
    if part == "abstention":
        return abstention.main(given)
    return max(_tune(name, clones) for name in TUNED)


def _serve(spec: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        index = scale.grow([spec], Path(folder), SERVED_CHUNKS)
        return serving.main(["--index", str(index), "--questions", str(COMPOSER_QUESTIONS)])


def _tune(name: str, clones: dict[str, str]) -> int:
    print(f"{name}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        spec = _locate(name, clones)
        return cli.main(["tune-retriever", spec, "--out", f"{folder}/retriever"])


def _locate(name: str, clones: dict[str, str]) -> str:
    """Name a repository's clone, or its URL, at the commit that is asked about."""
    (each,) = [each for each in SETS if each.name == name]
    return f"{clones.get(name, each.url)}@{each.commit}"


if __name__ == "__main__":
    sys.exit(main())
