"""A codebase, a model's stub and the app on it, for those who use the app for a while.

The codebase is a git repository of its own, made of files of a real one, so that committing to it
harms nothing. The app is `codeqa chat` in a process of its own, as a person starts it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.keeper import list_files, make_repository
from benchmarks.serving import START_S, App, serve_app, serve_stub

FILES = 60  # of the codebase
FILES_ADDED = 8  # of each repository that is added and removed
TOKENS, TOKENS_PER_S = 60, 20.0  # of the stub's answers
DEFINITION = re.compile(r"^(?:class|def) ([A-Za-z]\w{5,})", re.MULTILINE)


@dataclass(frozen=True)
class Scene:
    """What there is to use, and to look at.

    :param work: the folder that all of it lies in.
    :param kept: folders of repositories that are not in the index yet.
    :param questions: each has its answer in the index.
    """

    app: App
    work: Path
    kept: Sequence[Path]
    questions: Sequence[str]

    @property
    def index(self) -> Path:
        """The folder of the index."""
        return self.work / "index"

    @property
    def history(self) -> Sequence[Path]:
        """The files of the conversations."""
        return sorted(self.work.glob("conversations.sqlite*"))

    def log(self) -> str:
        """Read what the app has printed."""
        return (self.work / "chat.log").read_text("utf-8", "replace")


@contextmanager
def set_scene(
    repository: Path, work: Path, *, keepers: int, tokens: int = TOKENS
) -> Iterator[Scene]:
    """Make repositories, index the first, and start the app on it.

    :param repository: a git repository, whose files are copied.
    :param work: an empty folder.
    :param keepers: how many repositories to make beside the codebase.
    :param tokens: of an answer.
    """
    paths = list_files(repository)[: FILES + keepers * FILES_ADDED]
    files = [(path, repository / path) for path in paths]
    codebase, kept = files[:FILES], []
    make_repository(work / "codebase", codebase)
    for number in range(keepers):
        start = FILES + number * FILES_ADDED
        kept.append(work / f"kept-{number}")
        make_repository(kept[-1], files[start : start + FILES_ADDED] or files[:FILES_ADDED])
    texts = [source.read_text("utf-8", "replace") for path, source in codebase]
    names = sorted({name for text in texts for name in DEFINITION.findall(text)})
    questions = [f"What does {name} do, and how?" for name in names]
    run = "import sys; from app.cli import main; sys.exit(main())"
    index = [str(work / "codebase"), "--index", str(work / "index")]
    with (work / "index.log").open("w") as out:
        command = [sys.executable, "-c", run, "index", *index]
        subprocess.run(command, check=True, stdout=out, stderr=out, env=os.environ)
    with serve_stub(tokens, TOKENS_PER_S) as model, serve_app(work / "index", model, work) as app:
        first = httpx.get(f"{app.url}/api/search", params={"query": questions[0]}, timeout=START_S)
        first.raise_for_status()  # by now, the embedding model is loaded
        yield Scene(app, work, kept, questions)
