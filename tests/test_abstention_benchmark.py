"""The benchmark of abstention gives a row a repository, and says what it cannot measure."""

from pathlib import Path

import pytest

from benchmarks import abstention
from tests.conftest import TINY_FILES
from tests.git_repositories import MakeRepo

ROUTER = '''class {one}{two}:
    """{what} that the {place} keeps."""

    def {verb}_{thing}(self, {thing}):
        """Return what the {place} {verb}s of a {thing}, in the order of arrival."""
        return {thing}
'''


def test_each_repository_has_a_row(make_repo: MakeRepo, capsys: pytest.CaptureFixture[str]) -> None:
    files: dict[str, str | bytes] = {**TINY_FILES}
    for number, (one, two, verb, thing) in enumerate(
        [
            ("Request", "Router", "send", "parcel"),
            ("Parcel", "Counter", "count", "letter"),
            ("Letter", "Sorter", "sort", "request"),
        ]
    ):
        what, place = f"The {thing}s", f"{one.lower()} office"
        text = ROUTER.format(one=one, two=two, verb=verb, thing=thing, what=what, place=place)
        files[f"post/file{number}.py"] = text
    repos = [str(make_repo(files, name)) for name in ("first", "second")]
    assert abstention.main([*repos, "--words", "--limit=20"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["first", "second"]
    precision, recall, wrong, developers, foreign = rows[2].split("|")[2:-1]
    assert float(recall.split()[0]) >= 0.5 and float(precision.split()[0]) > 0
    assert int(wrong.split()[-1]) > 0 and developers.strip() == "–"
    assert foreign.strip().endswith("of second's")


def test_a_repository_that_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert abstention.main([str(tmp_path / "none")]) == 1
    assert "abstention is not measured" in capsys.readouterr().err
