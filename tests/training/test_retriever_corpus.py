"""The copy that a retriever is tuned on holds every file, but none of the questions' words."""

from pathlib import Path

import pytest

from data_tools.errors import SourceError
from data_tools.progress import Progress
from data_tools.sources import SourceFile, open_source
from tests.git_repositories import MakeRepo
from training.retriever_corpus import count_kinds, mask_repositories, open_sources

CODE = '''\
class TokenBucket:
    """Holds tokens that refill at a steady rate."""

    def take(self, amount):
        """Take some tokens if there are enough of them."""
        return self.tokens >= amount
'''
TEST = """\
from bucket import TokenBucket


def test_an_empty_bucket_refuses_to_give_tokens():
    assert not TokenBucket().take(1)
"""


def test_what_a_question_was_made_from_is_blank_and_all_lines_keep_their_numbers(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo = make_repo({"bucket.py": CODE, "tests/test_bucket.py": TEST, "notes.txt": "as it is\n"})
    (masked,) = mask_repositories(open_sources([str(repo)], print), tmp_path / "masked", print)
    assert masked.folder == tmp_path / "masked" / "repo"
    text = (masked.folder / "bucket.py").read_text("utf-8")
    kept = {0: "class TokenBucket:", 3: "    def take(self, amount):"}
    assert "steady rate" not in text and "enough of them" not in text
    assert {at: text.split("\n")[at] for at in kept} == kept
    assert text.count("\n") == CODE.count("\n")
    tests = (masked.folder / "tests" / "test_bucket.py").read_text("utf-8")
    assert ("refuses_to_give" in tests) is ("test" not in count_kinds(masked.pairs))
    assert (masked.folder / "notes.txt").read_text("utf-8") == "as it is\n"


def test_the_copy_is_read_back_as_it_was_written(make_repo: MakeRepo, tmp_path: Path) -> None:
    repo = make_repo(
        {
            "bucket.py": CODE,
            "kept/ignored.py": "x = 1\n",  # tracked all the same
            ".gitignore": "ignored.py\n",
            "notebook.ipynb": '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        }
    )
    (masked,) = mask_repositories(open_sources([str(repo)], print), tmp_path / "masked", print)
    files = [f.path for f in open_source(str(masked.folder)).files() if isinstance(f, SourceFile)]
    assert files == ["bucket.py", "kept/ignored.py"]


def test_repositories_of_one_name_are_told_apart(make_repo: MakeRepo, tmp_path: Path) -> None:
    repos = [str(make_repo({"a.py": CODE}, f"{owner}/tool")) for owner in ("ada", "bob")]
    steps: list[Progress] = []
    masked = mask_repositories(
        open_sources([*repos, repos[0]], steps.append), tmp_path / "masked", print
    )
    assert [each.repository.name for each in masked] == ["tool", "bob-tool"]
    assert {pair.repo for each in masked for pair in each.pairs} == {"tool", "bob-tool"}


def test_repositories_that_nothing_can_be_made_of_are_refused(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo = make_repo({"a.py": "a = 1\n"})
    with pytest.raises(SourceError, match="add a repository that is documented"):
        mask_repositories(open_sources([str(repo)], print), tmp_path / "masked", print)
