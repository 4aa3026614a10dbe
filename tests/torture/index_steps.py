"""Changes of an index that a process makes and may be killed in; what a reader then finds in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.chunk import Chunk
from data_tools.errors import IndexMissingError
from retrieval.generations import CURRENT, KEPT_GENERATIONS
from retrieval.index import CodeIndex, index_repositories
from retrieval.search import Hit
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, make_repository
from tests.torture.faults import Tell

OTHER_FILES = {"bucket.md": "# Buckets\n\nA token bucket takes tokens.\n", "a.py": "tokens = 1\n"}
CHANGED_FILES = {
    "limits/bucket.py": 'class TokenBucket:\n    """Takes tokens otherwise."""\n\n    rate = 3\n',
    "limits/leaky.py": "def take(tokens):\n    return tokens\n",
}
QUESTION = "How does the token bucket take tokens?"


def write_index(tell: Tell, folder: str, add: list[str], remove: list[str]) -> None:
    """Index repositories, bring those of the index up to date, or take some out."""
    index_repositories(add, Path(folder), embedder=FakeEncoder(), remove=remove)
    tell(written=True)


@dataclass(frozen=True)
class Change:
    """A change of an index: what it is made of before, and what is done then.

    :param indexed: names of repositories.
    :param commits: whether one of them gets a commit in between.
    :param add: names; likewise `remove`.
    """

    indexed: Sequence[str] = ("limits",)
    commits: bool = False
    add: Sequence[str] = ()
    remove: Sequence[str] = ()


CHANGES = {
    "first index": Change(indexed=(), add=["limits"]),
    "update after a commit": Change(commits=True),
    "second repository": Change(add=["other"]),
    "repository removed": Change(indexed=["limits", "other"], remove=["other"]),
}


def prepare(change: Change, folder: Path, before: Path) -> list[str]:
    """Make the repositories and the index that a change is about; return what it adds.

    :param folder: for the repositories.
    :param before: the index; an empty folder where there is none yet.
    """
    files = {"limits": TINY_FILES, "other": OTHER_FILES}
    repositories = {name: make_repository(folder / name, each) for name, each in files.items()}
    before.mkdir()
    if change.indexed:
        specs = [str(repositories[name]) for name in change.indexed]
        index_repositories(specs, before, embedder=FakeEncoder())
    if change.commits:
        commit_files(repositories["limits"], CHANGED_FILES)
    return [str(repositories[name]) for name in change.add]


def finish(change: Change, folder: Path, added: list[str]) -> "State | None":
    """Make a change again, or as far as it was not made yet; return the state it ends in."""
    state = read_state(folder)
    names = {name for name, _ in state.commits} if state else set()
    remove = [name for name in change.remove if name in names]
    index_repositories(added, folder, embedder=FakeEncoder(), remove=remove)
    return read_state(folder)


def list_litter(folder: Path) -> list[str]:
    """List what lies in an index folder and is no part of it."""
    names = sorted(path.name for path in folder.iterdir())
    generations = [name for name in names if name.startswith("generation-")]
    parts = {CURRENT, "LOCK", "embeddings.sqlite", *generations[-KEPT_GENERATIONS:]}
    return [name for name in names if name not in parts or name.endswith(".partial")]


@dataclass(frozen=True)
class State:
    """All that an index answers.

    :param words: what words alone find; `everything` is None until there are vectors.
    """

    commits: frozenset[tuple[str, str]]
    chunks: tuple[Chunk, ...]
    files: frozenset[tuple[str, str, str]]
    words: tuple[Hit, ...]
    everything: tuple[Hit, ...] | None

    def is_or_becomes(self, other: "State | None") -> bool:
        """Whether it is another state, but that its vectors may still be missing."""
        if other is None:
            return False
        return self == State(
            other.commits,
            other.chunks,
            other.files,
            other.words,
            None if self.everything is None else other.everything,
        )


def read_state(folder: Path) -> State | None:
    """Read an index as a user does, every file of it checked; None where there is none.

    :raises CodeQAError: it is damaged.
    """
    try:
        index = CodeIndex.open(folder, embedder=FakeEncoder())
    except IndexMissingError:
        return None
    with index:
        index.verify()
        return state_of(index)


def state_of(index: CodeIndex) -> State:
    """Read all that an index answers."""
    chunks = tuple(index.chunks())
    return State(
        commits=frozenset((record.name, record.commit) for record in index.manifest.repositories),
        chunks=chunks,
        files=frozenset((r, path, index.file_text(r, path)) for r, path in _files(chunks)),
        words=tuple(index.search(QUESTION, mode="lexical")),
        everything=tuple(index.search(QUESTION)) if index.vectors_ready else None,
    )


def _files(chunks: Iterable[Chunk]) -> set[tuple[str, str]]:
    return {(chunk.repo, chunk.path) for chunk in chunks}
