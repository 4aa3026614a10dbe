"""What a repository may hold, and what is said where it holds more."""

from pathlib import Path

import pytest

from data_tools.errors import SourceError
from data_tools.filters import reason_to_skip_path
from data_tools.limits import MAX_CHARACTERS, MAX_FILES, RepositoryLimits
from data_tools.sources import SourceFile, open_source
from tests.git_repositories import MakeRepo, write_files

FILES = {"a.py": "x = 1\n" * 10, "b.py": "y = 2\n" * 10, "c.png": "no text"}


@pytest.fixture(params=["folder", "repository"])
def location(request: pytest.FixtureRequest, make_repo: MakeRepo, tmp_path: Path) -> str:
    """The same files as a plain folder and as a commit."""
    if request.param == "repository":
        return str(make_repo(FILES))
    write_files(tmp_path / "plain", FILES)
    return str(tmp_path / "plain")


@pytest.mark.parametrize(
    ("variable", "limit", "says"),
    [
        ("CODEQA_MAX_FILES", "2", "holds more than 2 files"),
        ("CODEQA_MAX_CHARACTERS", "100", "holds more than 100 characters of text"),
    ],
)
def test_a_repository_beyond_a_limit_is_refused_whole_with_the_way_out(
    location: str, monkeypatch: pytest.MonkeyPatch, variable: str, limit: str, says: str
) -> None:
    monkeypatch.setenv(variable, limit)
    with pytest.raises(SourceError, match=f"{says}.*set {variable} to a higher limit"):
        list(open_source(location).files())
    monkeypatch.setenv(variable, "1_000")
    assert (
        len([file for file in open_source(location).files() if isinstance(file, SourceFile)]) == 2
    )


def test_without_a_word_from_the_environment_the_limits_are_generous(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CODEQA_MAX_FILES", raising=False)
    monkeypatch.setenv("CODEQA_MAX_CHARACTERS", "")
    assert RepositoryLimits.from_environment() == RepositoryLimits(MAX_FILES, MAX_CHARACTERS)


@pytest.mark.parametrize("text", ["none", "0", "-1", "1.5", "1e6", "9" * 30, "٣"])
def test_a_limit_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CODEQA_MAX_FILES", text)
    with pytest.raises(SourceError, match="CODEQA_MAX_FILES must be a whole number above 0"):
        RepositoryLimits.from_environment()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("d/" * 101 + "a.py", "nested more than 100 folders deep"),
        ("d" * 1_000 + ".py", "its path is longer than 1,000 characters"),
    ],
)
def test_paths_beyond_reason_are_left_out(path: str, reason: str) -> None:
    assert reason_to_skip_path(path, 10) == reason


def test_rules_without_end_are_not_followed_and_said_so(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    many = "*.py\n" * 20_000
    for repository in (make_repo({**FILES, ".codeqaignore": many}, "other"), tmp_path / "folder"):
        write_files(repository, {**FILES, ".codeqaignore": many})
        files = list(open_source(str(repository)).files())
        reasons = {file.path: getattr(file, "reason", "") for file in files}
        assert reasons[".codeqaignore"].startswith("oversized, so its rules are not followed")
        assert reasons["a.py"] == ""
