"""A repository whose files all say which commit they are of, and a reader that looks for a mix.

Run as a program, it reads an index until its input is closed, and prints what it saw.
"""

import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from retrieval.index import CodeIndex
from tests.fakes import FakeEncoder

FILES = 12
_EDITION = re.compile(r"edition (\d+)")


def edition_files(edition: int) -> dict[str, str]:
    """The files of a commit, each with the number of the edition in every chunk."""
    line = f'"""Takes tokens out of the bucket, edition {edition}."""\n'
    return {
        f"bucket_{n}.py": f"{line}\n\ndef take_{n}(tokens):\n    {line}    return {n}\n"
        for n in range(FILES)
    }


def read_editions(index: CodeIndex) -> tuple[str, set[str]]:
    """Read an index in every way; return its commit, and which editions were met.

    :raises AssertionError: a hit is not what stands in its file, or is of another commit.
    """
    (record,) = [each for each in index.manifest.repositories if each.name == "editions"]
    texts = [chunk.text for chunk in index.chunks("editions")]
    for hit in index.search("How are tokens taken out of the bucket?", k=FILES, repos=["editions"]):
        chunk = hit.chunk
        lines = index.lines(chunk.repo, chunk.path, chunk.start_line, chunk.end_line)
        assert [*chunk.text.splitlines()] == lines, chunk
        assert chunk.commit == record.commit, chunk
        index.link(chunk)
        texts.append(chunk.text)
    texts += [index.file_text("editions", path) for path in edition_files(0)]
    assert len(texts) >= 2 * FILES
    return record.commit, {edition for text in texts for edition in _EDITION.findall(text)}


def reopened(folder: Path) -> Callable[[], CodeIndex]:
    """Open the index anew each time, as a command does."""
    return lambda: CodeIndex.open(folder, embedder=FakeEncoder())


def renewed(folder: Path) -> Callable[[], CodeIndex]:
    """Keep the index open and go on to newer generations, as the servers do."""
    index = CodeIndex.open(folder, embedder=FakeEncoder())

    def renew() -> CodeIndex:
        nonlocal index
        index = index.newest()
        return index

    return renew


def read_until(stop: threading.Event, choose: Callable[[], CodeIndex]) -> Counter[tuple[str, str]]:
    """Read until told to stop; count each commit and what editions were met in it."""
    seen: Counter[tuple[str, str]] = Counter()
    while not stop.is_set():
        commit, editions = read_editions(choose())
        seen[commit, " ".join(sorted(editions))] += 1
    return seen


def main() -> None:
    """Read the index named by the first argument, in the way named by the second."""
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    ways = {"reopened": reopened, "renewed": renewed}
    choose = ways[sys.argv[2]](Path(sys.argv[1]))
    print(flush=True)  # it is reading
    print(json.dumps([[*key, count] for key, count in read_until(stop, choose).items()]))


if __name__ == "__main__":
    main()
