"""Repositories come into an index and leave it one at a time."""

import shutil
from pathlib import Path

import pytest

from app.cli import main
from data_tools.errors import IndexMissingError, SourceError
from retrieval import CodeIndex
from retrieval.index import index_repositories
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo

NAMES = ("ants", "bees", "cats")


@pytest.fixture
def repos(make_repo: MakeRepo) -> list[Path]:
    """Three repositories, of one file each."""
    return [make_repo({f"{name}.py": f"{name} = 'who dance'\n"}, name) for name in NAMES]


def names(index: CodeIndex) -> list[str]:
    return [record.name for record in index.manifest.repositories]


def answers(index: CodeIndex) -> list[tuple[str, int, float]]:
    hits = index.search("who dance ants bees cats", k=9)
    return [(hit.chunk.repo, hit.chunk.start_line, hit.score) for hit in hits]


@pytest.mark.parametrize("exact_up_to", [20_000, 1])
def test_an_index_from_which_one_was_removed_is_as_if_it_never_held_it(
    repos: list[Path], tmp_path: Path, fake_encoder: FakeEncoder, exact_up_to: int
) -> None:
    specs = [str(repo) for repo in repos]
    for spec in specs:  # one at a time
        index_repositories([spec], tmp_path / "i", embedder=fake_encoder, exact_up_to=exact_up_to)
    before = fake_encoder.embedded
    shutil.rmtree(repos[0])  # what stays is not read again, and need not be there
    report = index_repositories(
        (), tmp_path / "i", embedder=fake_encoder, remove=["bees"], exact_up_to=exact_up_to
    )
    assert (report.changed, report.embedded, fake_encoder.embedded) == (True, 0, before)
    index_repositories(
        (), tmp_path / "i", embedder=fake_encoder, remove=["ants"], exact_up_to=exact_up_to
    )
    index_repositories(
        specs[2:], tmp_path / "fresh", embedder=fake_encoder, exact_up_to=exact_up_to
    )
    with (
        CodeIndex.open(tmp_path / "i", embedder=fake_encoder) as index,
        CodeIndex.open(tmp_path / "fresh", embedder=fake_encoder) as fresh,
    ):
        assert names(index) == ["cats"]
        assert answers(index) == answers(fresh)
        assert index.chunks() == fresh.chunks()


def test_an_open_index_goes_on_without_what_it_removed(
    repos: list[Path], tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = CodeIndex.build([str(r) for r in repos], tmp_path / "i", embedder=fake_encoder)
    index.remove("ants")
    assert names(index) == ["bees", "cats"]
    assert {repo for repo, _, _ in answers(index)} == {"bees", "cats"}
    index.close()


def test_an_unknown_name_is_refused_with_the_names_there_are(
    repos: list[Path], tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    with CodeIndex.build([str(r) for r in repos], tmp_path / "i", embedder=fake_encoder) as index:
        before = index.manifest
        with pytest.raises(SourceError, match="no repository 'dogs'; choose from: ants, bees, cat"):
            index.remove("dogs")
        assert not index.refresh() and index.manifest == before


def test_the_last_one_is_not_removed_but_may_be_replaced(
    repos: list[Path], tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    folder = tmp_path / "i"
    index_repositories([str(repos[0])], folder, embedder=fake_encoder)
    with pytest.raises(SourceError, match=f"nothing would be left in the index; delete {folder}"):
        index_repositories((), folder, embedder=fake_encoder, remove=["ants"])
    report = index_repositories(
        [str(repos[1])], folder, embedder=fake_encoder, remove=["ants", "ants"]
    )
    assert [record.name for record in report.manifest.repositories] == ["bees"]
    with pytest.raises(IndexMissingError):
        index_repositories((), tmp_path / "none", embedder=fake_encoder, remove=["ants"])


def test_a_damaged_index_heals_without_what_is_removed(
    repos: list[Path], tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    CodeIndex.build([str(r) for r in repos], tmp_path / "i", embedder=fake_encoder).close()
    before = fake_encoder.embedded
    for file in (tmp_path / "i").glob("generation-*/chunks.sqlite"):
        file.write_bytes(b"garbage")
    report = index_repositories((), tmp_path / "i", embedder=fake_encoder, remove=["ants"])
    assert [record.name for record in report.manifest.repositories] == ["bees", "cats"]
    assert fake_encoder.embedded == before


def test_the_command_takes_out_what_it_is_told(
    repos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--index", str(tmp_path / "i")]
    assert main(["index", *map(str, repos), *folder]) == 0
    capsys.readouterr()
    assert main(["index", "--remove", "bees", "--remove", "cats", *folder]) == 0
    assert "bees" not in capsys.readouterr().out
    assert main(["index", "--remove", "ants", *folder]) == 1
    assert "delete" in capsys.readouterr().err
    assert main(["status", "--verify", "--offline", *folder]) == 0
    assert "every file as it was written" in capsys.readouterr().out
