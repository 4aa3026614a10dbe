"""`CodeIndex`: built from repositories, searched, read."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.errors import (
    EmbedderMismatchError,
    IndexMissingError,
    QuestionError,
    SourceError,
)
from retrieval import CodeIndex
from retrieval.search import MAX_QUESTION_CHARS, Hit
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo, commit_files, head_of, run_git

GITHUB = "https://github.com/ada/limits"


@pytest.fixture
def index(tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder) -> Iterator[CodeIndex]:
    with CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder) as built:
        yield built


def paths(hits: list[Hit]) -> list[str]:
    return [hit.chunk.path for hit in hits]


def test_what_is_asked_for_is_found_with_every_field_filled_in(
    index: CodeIndex, tiny_repo: Path
) -> None:
    hits = index.search("What does TokenBucket.take do?", k=3)
    best, chunk = hits[0], hits[0].chunk
    assert (chunk.repo, chunk.path, chunk.language) == ("limits", "limits/bucket.py", "python")
    assert chunk.commit == head_of(tiny_repo)
    assert "TokenBucket" in chunk.symbol
    lines = TINY_FILES["limits/bucket.py"].splitlines(keepends=True)
    assert chunk.text == "".join(lines[chunk.start_line - 1 : chunk.end_line])
    assert best.url is None
    assert best.cosine is not None and -1 <= best.cosine <= 1
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len(hits) == 3 and hits[-1].score > 0


def test_an_index_opened_from_disk_answers_as_the_one_that_was_built(
    index: CodeIndex, fake_encoder: FakeEncoder
) -> None:
    question = "How long to wait when the service answers 429?"
    with CodeIndex.open(index.folder, embedder=fake_encoder) as opened:
        assert opened.search(question) == index.search(question)
        assert opened.manifest == index.manifest
        assert len(opened) == len(index) == len(index.chunks()) == index.manifest.vectors


def test_chunks_cover_every_file_once(index: CodeIndex) -> None:
    for path, text in TINY_FILES.items():
        assert index.file_text("limits", path) == text
    with pytest.raises(KeyError):
        index.file_text("limits", "limits/none.py")
    with pytest.raises(KeyError):
        index.file_text("none", "README.md")


def test_lines_are_counted_from_one_and_both_ends_are_meant(index: CodeIndex) -> None:
    whole = TINY_FILES["config/limits.yaml"].split("\n")[:-1]
    path = "config/limits.yaml"
    assert index.lines("limits", path, 1, len(whole)) == whole
    assert index.lines("limits", path, 3, 4) == whole[2:4]
    assert index.lines("limits", path, len(whole), 10**9) == whole[-1:]
    assert index.lines("limits", path, -5, 1) == whole[:1]
    assert index.lines("limits", path, 5, 4) == index.lines("limits", path, 1, -2) == []


def test_line_numbers_are_those_of_a_git_host(
    make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    text = "a = 1\x0cb = 2\r\nc = '\u2028'\r\n\r\nlast = 3"
    repo = make_repo({"odd.py": text.encode()})
    with CodeIndex.build([str(repo)], tmp_path / "index", embedder=fake_encoder) as index:
        assert index.lines("repo", "odd.py", 1, 9) == [
            "a = 1\x0cb = 2",
            "c = '\u2028'",
            "",
            "last = 3",
        ]


def test_a_commit_that_was_pushed_is_linked_and_one_that_was_not_is_not(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    run_git(tiny_repo, "remote", "add", "origin", f"{GITHUB}.git")
    run_git(tiny_repo, "update-ref", "refs/remotes/origin/main", "HEAD")
    index = CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder)
    hit = index.search("TokenBucket", k=1)[0]
    lines = f"L{hit.chunk.start_line}-L{hit.chunk.end_line}"
    assert hit.url == f"{GITHUB}/blob/{head_of(tiny_repo)}/limits/bucket.py#{lines}"
    assert index.link(hit.chunk) == hit.url
    commit_files(tiny_repo, {"new.py": "local = True\n"})
    index.update()
    assert index.search("TokenBucket", k=1)[0].url is None
    index.close()


def test_filters_keep_what_was_asked_for_by_words_and_by_meaning(
    index: CodeIndex, make_repo: MakeRepo, fake_encoder: FakeEncoder
) -> None:
    other = make_repo({"bucket.py": "class TokenBucket:\n    rate = 2\n"}, "other")
    index = CodeIndex.build([str(other)], index.folder, embedder=fake_encoder)
    question = "token bucket rate"
    everything = index.search(question, k=100)
    assert len(everything) == len(index)
    for filters, keep in [
        ({"repos": ["other"]}, lambda chunk: chunk.repo == "other"),
        ({"languages": ["yaml", "typescript"]}, lambda c: c.language in ("yaml", "typescript")),
        ({"path_glob": "*.py"}, lambda chunk: chunk.path.endswith(".py")),
        ({"path_glob": "/limits/"}, lambda chunk: chunk.path.startswith("limits/")),
        (
            {"repos": ["limits"], "languages": ["python"], "path_glob": "!tests/"},
            lambda chunk: False,  # a pattern that only excludes picks nothing
        ),
    ]:
        hits = index.search(question, k=100, **filters)  # type: ignore[arg-type]
        expected = {hit.chunk for hit in everything if keep(hit.chunk)}  # type: ignore[no-untyped-call]
        assert {hit.chunk for hit in hits} == expected
    assert index.search(question, repos=[]) == []
    index.close()


def test_a_filter_that_names_nothing_is_an_error_that_lists_the_names(index: CodeIndex) -> None:
    with pytest.raises(QuestionError, match="no repository 'limit'; choose from: limits"):
        index.search("bucket", repos=["limit"])
    with pytest.raises(QuestionError, match="no language 'pyton'; choose from: .*python"):
        index.search("bucket", languages=["pyton"])
    with pytest.raises(QuestionError, match="'!' is not a pattern"):
        index.search("bucket", path_glob="!")


def test_k_bounds_the_hits_from_both_sides(index: CodeIndex) -> None:
    question = "token bucket"
    assert len(index.search(question, k=2)) == 2
    assert index.search(question, k=2) == index.search(question, k=10**20)[:2]
    for k in (0, -1):
        with pytest.raises(ValueError, match="k must be at least 1"):
            index.search(question, k=k)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("", "is empty"),
        (" \n\0 ", "is empty"),
        ("x" * 100_000, f"has 100,000 characters; shorten it to {MAX_QUESTION_CHARS:,}"),
        ("where is \ud800?", "not valid Unicode"),
    ],
)
def test_a_question_that_cannot_be_searched_for_is_refused(
    index: CodeIndex, question: str, reason: str
) -> None:
    with pytest.raises(QuestionError, match=reason):
        index.search(question)


@pytest.mark.parametrize(
    "question",
    [
        "x" * MAX_QUESTION_CHARS,
        "?",
        '(a AND b) OR c:* ^2 "d',
        "'; DROP TABLE chunks; --",
        "日本語で 🦊",
        "\x01\x7f",
    ],
)
def test_any_other_text_is_a_question(index: CodeIndex, question: str) -> None:
    assert len(index.search(question, k=2)) == 2


def test_a_definition_comes_before_its_test_and_the_changelog(index: CodeIndex) -> None:
    order = paths(index.search("token bucket", k=100))
    assert order.index("limits/bucket.py") < order.index("tests/test_bucket.py")
    assert order.index("README.md") < order.index("CHANGELOG.md")


def test_an_index_knows_what_it_holds(index: CodeIndex, tiny_repo: Path) -> None:
    record = index.repository("limits")
    assert record.location == str(tiny_repo)
    assert (record.files, record.chunks) == (len(TINY_FILES), len(index))
    assert dict(index.languages())["python"] == 3
    assert index.skipped() == []
    assert index.vectors_ready
    with pytest.raises(KeyError):
        index.repository("none")


def test_rarity_tells_common_words_from_rare_ones(index: CodeIndex) -> None:
    common, rare, absent = index.rarity(["token", "math", "quasar"])
    assert 0 < common < rare < absent == 1


def test_a_plain_folder_is_indexed_too(tmp_path: Path, fake_encoder: FakeEncoder) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Bees\n\nBees dance.\n")
    (tmp_path / "notes" / "b.bin").write_bytes(b"\0\1")
    with CodeIndex.build([str(tmp_path / "notes")], tmp_path / "i", embedder=fake_encoder) as index:
        assert index.search("dancing bees")[0].chunk.commit == "worktree"
        assert [file.path for file in index.skipped("notes")] == ["b.bin"]


def test_nothing_to_index_is_refused(tmp_path: Path, fake_encoder: FakeEncoder) -> None:
    with pytest.raises(ValueError, match="at least one repository"):
        CodeIndex.build([], tmp_path / "index", embedder=fake_encoder)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(SourceError, match=r"holds no text to index \(files skipped: 1\)"):
        CodeIndex.build([str(tmp_path / "photos")], tmp_path / "index", embedder=fake_encoder)
    with pytest.raises(IndexMissingError):
        CodeIndex.open(tmp_path / "index")
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == ["LOCK"]


def test_no_index_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError, match=r"run `codeqa index` first: codeqa index REPO"):
        CodeIndex.open(tmp_path / "none")


def test_an_index_is_opened_with_the_model_that_made_it(index: CodeIndex) -> None:
    with pytest.raises(EmbedderMismatchError, match="was made with fake-encoder .* make it anew"):
        CodeIndex.open(index.folder, embedder=FakeEncoder("another"))


def test_an_index_may_be_moved(index: CodeIndex, tmp_path: Path, fake_encoder: FakeEncoder) -> None:
    hits = index.search("token bucket")
    shutil.move(index.folder, tmp_path / "a #? folder%20")
    with CodeIndex.open(tmp_path / "a #? folder%20", embedder=fake_encoder) as moved:
        assert moved.search("token bucket") == hits


def test_same_named_repositories_get_names_of_their_own(
    make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    repos = [make_repo({"a.py": f"owner = {name!r}\n"}, f"{name}/app") for name in ("ada", "bob")]
    with CodeIndex.build([*map(str, repos)], tmp_path / "index", embedder=fake_encoder) as index:
        assert [record.name for record in index.manifest.repositories] == ["app", "bob-app"]
        assert index.file_text("bob-app", "a.py") == "owner = 'bob'\n"
        assert {hit.chunk.repo for hit in index.search("owner")} == {"app", "bob-app"}


def test_a_repository_named_twice_is_indexed_once_or_refused(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    spec = str(tiny_repo)
    with CodeIndex.build([spec, f"{spec}/"], tmp_path / "index", embedder=fake_encoder) as index:
        assert len(index.manifest.repositories) == 1
    with pytest.raises(SourceError, match="given twice, at main and HEAD"):
        CodeIndex.build([f"{spec}@main", spec], tmp_path / "index", embedder=fake_encoder)


def test_a_branch_tag_or_commit_is_indexed_instead_of_the_newest(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    first = head_of(tiny_repo)
    run_git(tiny_repo, "tag", "v1")
    commit_files(tiny_repo, {"later.py": "later = True\n"})
    for ref in ("v1", first, first[:9]):
        folder = tmp_path / ref
        with CodeIndex.build([f"{tiny_repo}@{ref}"], folder, embedder=fake_encoder) as index:
            assert index.repository("limits").commit == first
            assert index.repository("limits").ref == ref
            with pytest.raises(KeyError):
                index.file_text("limits", "later.py")
