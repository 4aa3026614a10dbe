"""A first build of much text can be searched by words before any syntax tree is made."""

from pathlib import Path

import pytest

from data_tools.chunk import MAX_CHARS
from data_tools.progress import Progress
from retrieval import CodeIndex
from retrieval.build import HASTY_ABOVE_CHUNKS
from retrieval.generations import current_generation
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo

METHOD = """\
    def step_{n}(self, amount: float) -> float:
        \"\"\"Advance the {word} by an amount.\"\"\"
        self.total_{n} = self.total_{n} + amount * {n}
        return self.total_{n}

"""
CLASS_CHARS = 60_000
TEXT_CHARS = HASTY_ABOVE_CHUNKS * MAX_CHARS  # no chunk is larger


@pytest.fixture
def large_repo(make_repo: MakeRepo) -> Path:
    """A repository of a little more text than is read along syntax trees at once."""
    words = ("pendulum", "glacier", "lantern", "harbour")
    files = {}
    for number in range(TEXT_CHARS // CLASS_CHARS + 1):
        word = f"{words[number % 4]}{number}"
        methods = CLASS_CHARS // len(METHOD.format(n=100, word=word)) + 10
        body = "".join(METHOD.format(n=n, word=word) for n in range(methods))
        files[f"src/part_{number}.py"] = f"class Part{number}:\n{body}"
    return make_repo(files, "large")


def test_words_are_searched_in_paragraphs_until_the_chunks_are_there(
    large_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    seen = []

    def report(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            with CodeIndex.open(tmp_path / "index") as words:
                seen.append((words.search("glacier5", k=1)[0].chunk, words.vectors_ready))
                assert {chunk.symbol for chunk in words.chunks()} == {""}

    index = CodeIndex.build(
        [str(large_repo)], tmp_path / "index", embedder=fake_encoder, report=report
    )
    [(chunk, vectors_ready)] = seen
    assert (chunk.path, vectors_ready) == ("src/part_5.py", False)
    assert index.search("glacier5", k=1)[0].chunk.symbol.startswith("Part5")
    index.close()


def test_nothing_of_a_hasty_build_that_was_interrupted_stays(
    large_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CodeIndex.build([str(large_repo)], tmp_path / "index", embedder=fake_encoder, report=stop)
    hasty = current_generation(tmp_path / "index")
    stages = []
    resumed = CodeIndex.build(
        [str(large_repo)],
        tmp_path / "index",
        embedder=fake_encoder,
        report=lambda progress: stages.append(progress.stage),
    )
    afresh = CodeIndex.build([str(large_repo)], tmp_path / "afresh", embedder=fake_encoder)
    assert not hasty.exists()
    assert stages.count("lexical-ready") == 1
    assert list(resumed.chunks()) == list(afresh.chunks())
    resumed.close()
    afresh.close()
