"""Updates: only what changed is embedded, and the result is what a build from nothing gives.

This file is long because each way in which a repository can change is a test of its own.
"""

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data_tools.errors import IndexMissingError, SourceError, StorageError
from retrieval import CodeIndex, Progress
from retrieval.build import EMBED_SPAN
from retrieval.embed import DEFAULT_EMBEDDER, Vectors
from retrieval.index import index_repositories
from retrieval.search import Hit
from tests.data_tools.git_server import serve_git
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo, commit_files, head_of, run_git

QUESTIONS = ("token bucket", "wait and retry", "rate of tokens a second", "changes in 1.1.0")


def build(
    repos: Sequence[object], folder: Path, encoder: FakeEncoder, **options: object
) -> CodeIndex:
    return CodeIndex.build([str(repo) for repo in repos], folder, embedder=encoder, **options)  # type: ignore[arg-type]


def generations(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("generation-*"))


def answers(index: CodeIndex) -> list[list[tuple[str, str, int, float]]]:
    return [
        [(hit.chunk.repo, hit.chunk.path, hit.chunk.start_line, hit.score) for hit in hits]
        for hits in (index.search(question, k=50) for question in QUESTIONS)
    ]


def test_the_first_build_embeds_every_chunk_and_an_update_only_what_changed(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = build([tiny_repo], tmp_path / "index", fake_encoder)
    before = {chunk.text for chunk in index.chunks()}
    assert fake_encoder.embedded == len(index)
    guide = (tiny_repo / "README.md").read_text()
    commit_files(tiny_repo, {"README.md": guide + "\n## Limits\n\nNone are known.\n"})
    fake_encoder.embedded = 0
    report = index.update()
    changed = [chunk for chunk in index.chunks() if chunk.text not in before]
    assert fake_encoder.embedded == report.embedded == len(changed) == 1
    assert report.changed
    assert index.repository("limits").commit == head_of(tiny_repo)
    assert {chunk.commit for chunk in index.chunks()} == {head_of(tiny_repo)}
    index.close()


def test_text_that_moves_to_other_lines_is_not_embedded_again(
    make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    functions = [f"def f{n}():\n" + f"    x = {n}\n" * 60 + "\n" for n in range(4)]
    repo = make_repo({"a.py": "".join(functions)})
    index = build([repo], tmp_path / "index", fake_encoder)
    assert len(index) == 4
    commit_files(repo, {"a.py": "".join(reversed(functions))})
    fake_encoder.embedded = 0
    index.update()
    assert fake_encoder.embedded == 0
    assert "f3" in index.search("f3 x", k=1)[0].chunk.symbol
    assert index.search("f3 x", k=1)[0].chunk.start_line == 1
    index.close()


def test_a_text_that_stands_twice_is_embedded_once(
    make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    repos = [make_repo({"a.py": "same = 1\n"}, name) for name in ("one", "two")]
    index = build(repos, tmp_path / "index", fake_encoder)
    assert (len(index), index.manifest.vectors, fake_encoder.embedded) == (2, 2, 1)
    index.close()


def test_files_that_were_removed_are_gone(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = build([tiny_repo], tmp_path / "index", fake_encoder)
    run_git(tiny_repo, "rm", "--quiet", "limits/bucket.py")
    commit_files(tiny_repo, {})
    index.update()
    assert "limits/bucket.py" not in {hit.chunk.path for hit in index.search("bucket", k=99)}
    assert index.search("seconds_until", path_glob="/limits/bucket.py") == []
    with pytest.raises(KeyError):
        index.file_text("limits", "limits/bucket.py")
    index.close()


def test_an_update_ranks_as_a_build_from_nothing_would(
    tiny_repo: Path, make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    twin = make_repo({"limits/bucket.py": (tiny_repo / "limits/bucket.py").read_text()}, "twin")
    index = build([tiny_repo, twin], tmp_path / "index", fake_encoder)
    commit_files(tiny_repo, {"z.py": "def refill(): ...\n", "config/limits.yaml": "rate: 3\n"})
    build([tiny_repo], tmp_path / "index", fake_encoder).close()  # the twin stays as it is
    assert index.refresh()
    fresh = build([tiny_repo, twin], tmp_path / "fresh", fake_encoder)
    assert answers(index) == answers(fresh)
    assert index.manifest.repositories == fresh.manifest.repositories
    index.close()
    fresh.close()


def test_in_a_large_index_too_an_update_embeds_just_the_changed_chunks_and_ranks_as_if_new(
    make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    words = ("token", "bucket", "wait", "retry", "rate", "seconds", "changes", "refill")
    files = {
        f"m{n}.py": "".join(
            f"def {words[(n + k) % 8]}_{words[n % 7]}_{n}_{k}():\n"
            + f"    x = {n * k}\n" * 60
            + "\n"
            for k in range(3)
        )
        for n in range(100)
    }
    repo = make_repo(files)
    folder = tmp_path / "index"

    def embed(folder: Path, encoder: FakeEncoder) -> tuple[int, int]:
        report = index_repositories([str(repo)], folder, embedder=encoder, exact_up_to=50)
        return report.embedded, report.manifest.chunks

    assert embed(folder, fake_encoder) == (300, 300)
    changed = [f"m{n}.py" for n in range(0, 100, 9)]
    commit_files(repo, {name: files[name].replace("x =", "bucket =") for name in changed})
    assert embed(folder, fake_encoder) == (3 * len(changed), 300)
    embed(tmp_path / "fresh", FakeEncoder())
    with (
        CodeIndex.open(folder, embedder=fake_encoder) as updated,
        CodeIndex.open(tmp_path / "fresh", embedder=fake_encoder) as fresh,
        CodeIndex.build([str(repo)], tmp_path / "exact", embedder=fake_encoder) as exact,
    ):
        assert answers(updated) == answers(fresh)
        found = [[hit[:3] for hit in hits[:10]] for hits in answers(updated)]
        assert found == [[hit[:3] for hit in hits[:10]] for hits in answers(exact)]
    assert not (tmp_path / "exact" / "generation-000002" / "vectors.f16").exists()
    assert (folder / "generation-000003" / "vectors.f16").exists()


def test_a_repository_added_later_keeps_the_first(
    tiny_repo: Path, make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    build([tiny_repo], tmp_path / "index", fake_encoder).close()
    fake_encoder.embedded = 0
    index = build([make_repo({"bees.py": "dance = 1\n"}, "bees")], tmp_path / "index", fake_encoder)
    assert fake_encoder.embedded == 1
    assert [record.name for record in index.manifest.repositories] == ["limits", "bees"]
    assert index.search("TokenBucket", k=1)[0].chunk.repo == "limits"
    assert index.search("dance", k=1)[0].chunk.repo == "bees"
    index.close()


@pytest.mark.parametrize("kind", ["git", "folder", "both"])
def test_a_build_of_what_has_not_changed_writes_and_embeds_nothing(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder, kind: str
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(tiny_repo, plain, ignore=shutil.ignore_patterns(".git"))
    repos = {"git": [tiny_repo], "folder": [plain], "both": [plain, tiny_repo]}[kind]
    index = build(repos, tmp_path / "index", fake_encoder)
    before, fake_encoder.embedded = generations(tmp_path / "index"), 0
    for some in (repos, repos[:1], repos[::-1]):
        report = index_repositories(
            [str(repo) for repo in some], tmp_path / "index", embedder=fake_encoder
        )
        assert (report.changed, report.embedded, report.manifest) == (False, 0, index.manifest)
    assert not index.update().changed
    assert generations(tmp_path / "index") == before
    assert fake_encoder.embedded == 0
    index.close()


@pytest.mark.usefixtures("private_allowed")
def test_a_url_with_credentials_is_the_same_repository_and_they_are_written_nowhere(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    with serve_git(tmp_path, login="ada:s3cret-Pa55") as server:
        build([server.url("limits", "ada:s3cret-Pa55")], tmp_path / "index", fake_encoder).close()
        server.login = ""
        index = build([server.url("limits/")], tmp_path / "index", fake_encoder)
        index.close()
        assert [record.name for record in index.manifest.repositories] == ["limits"]
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files and not any(b"s3cret" in file.read_bytes() for file in files)


def test_a_folder_and_its_bare_clone_are_two_repositories(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    run_git(tmp_path, "clone", "--quiet", "--bare", str(tiny_repo), f"{tiny_repo}.git")
    index = build([tiny_repo, f"{tiny_repo}.git"], tmp_path / "index", fake_encoder)
    assert len(index.manifest.repositories) == 2
    index.close()


def test_another_model_embeds_everything_anew_and_readers_follow(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = build([tiny_repo], tmp_path / "index", fake_encoder)
    before = answers(index)
    report = index_repositories((), tmp_path / "index", embedder=DEFAULT_EMBEDDER)
    assert report.embedded == report.manifest.vectors == len(index)
    assert answers(index) == before  # the old generation, with the old model
    assert index.refresh()
    assert answers(index) != before
    assert index.embedder.name == DEFAULT_EMBEDDER
    index.close()


def test_an_index_is_brought_up_to_date_from_what_it_remembers(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    run_git(tiny_repo, "branch", "stable")
    build([f"{tiny_repo}@stable"], tmp_path / "index", fake_encoder).close()
    commit_files(tiny_repo, {"new.py": "new = 1\n"})
    assert not index_repositories((), tmp_path / "index", embedder=fake_encoder).changed
    run_git(tiny_repo, "branch", "--force", "stable", "main")
    report = index_repositories((), tmp_path / "index", embedder=fake_encoder)
    assert report.changed and report.manifest.repositories[0].ref == "stable"
    with pytest.raises(IndexMissingError):
        index_repositories((), tmp_path / "none", embedder=fake_encoder)


def test_a_repository_that_is_gone_leaves_the_index_as_it_was(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = build([tiny_repo], tmp_path / "index", fake_encoder)
    before = answers(index)
    shutil.move(tiny_repo, tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="does not exist"):
        index.update()
    assert answers(index) == before
    assert not list((tmp_path / "index").glob("*.partial"))
    index.close()


def test_words_can_be_searched_before_the_first_vectors_are_made(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    seen: list[tuple[int, list[Hit], bool]] = []

    def report(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            with CodeIndex.open(tmp_path / "index") as words:  # no model is needed
                hits = words.search("TokenBucket take", k=3)
                seen.append((fake_encoder.embedded, hits, words.vectors_ready))

    index = build([tiny_repo], tmp_path / "index", fake_encoder, report=report)
    [(embedded, hits, vectors_ready)] = seen
    assert (embedded, vectors_ready) == (0, False)
    assert hits[0].chunk.path == "limits/bucket.py"
    assert hits[0].cosine is None and hits[0].score == pytest.approx(1.1)  # a definition's boost
    assert index.vectors_ready
    index.close()


def test_the_old_generation_answers_until_the_new_one_is_whole(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = build([tiny_repo], tmp_path / "index", fake_encoder)
    commit_files(tiny_repo, {"late.py": "quasar = 1\n"})
    stages = []

    def report(progress: Progress) -> None:
        stages.append(progress.stage)
        assert not index.refresh()
        assert index.search("quasar", k=1)[0].chunk.path != "late.py"

    build([tiny_repo], tmp_path / "index", fake_encoder, report=report).close()
    assert stages[-1] == "embed" and "lexical-ready" not in stages
    assert index.refresh() and not index.refresh()
    assert index.search("quasar", k=1)[0].chunk.path == "late.py"
    index.close()


def test_the_newest_index_is_another_and_leaves_the_one_in_use_as_it_is(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder)
    assert index.newest() is index
    first = index.manifest
    commit_files(tiny_repo, {"new.py": "quasar = 1\n"})
    index_repositories((), tmp_path / "index", embedder=fake_encoder)
    with index, index.newest() as newest:
        assert newest.embedder is fake_encoder
        assert newest.search("quasar", k=1)[0].chunk.path == "new.py"
        assert index.manifest == first
        with pytest.raises(KeyError):
            index.file_text("limits", "new.py")


def test_progress_counts_files_and_chunks(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    steps: list[Progress] = []
    index = build([tiny_repo], tmp_path / "index", fake_encoder, report=steps.append)
    order = list(dict.fromkeys(step.stage for step in steps))
    assert order == ["clone", "read", "parse", "lexical", "lexical-ready", "embed"]
    for stage in ("read", "parse"):
        assert [step.done for step in steps if step.stage == stage] == [1, 2, 3, 4, 5, 6, 7]
    last = steps[-1]
    assert last.stage == "embed" and last.done == last.total == len(index)
    index.close()


class Stopping(FakeEncoder):
    """Embeds some spans, then is interrupted as if by Ctrl-C."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        super().__init__()
        self.left = after
        self.error = error

    def embed(self, texts: Sequence[str]) -> Vectors:
        if not self.left:
            raise self.error
        self.left -= 1
        return super().embed(texts)


@pytest.fixture
def large_repo(make_repo: MakeRepo) -> Path:
    """More chunks than are embedded between two saves."""
    return make_repo({f"m{n}.py": f"name_{n} = {n}\n" for n in range(EMBED_SPAN + 88)}, "large")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_first_build_leaves_words_and_the_next_embeds_only_the_rest(
    large_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        build([large_repo], tmp_path / "index", Stopping(1, error))
    with CodeIndex.open(tmp_path / "index") as words:
        assert not words.vectors_ready
        assert words.search("name_42", k=1)[0].chunk.path == "m42.py"
    assert not list((tmp_path / "index").glob("*.partial"))
    index = build([large_repo], tmp_path / "index", fake_encoder)
    assert fake_encoder.embedded == 88
    assert index.vectors_ready
    fresh = build([large_repo], tmp_path / "fresh", FakeEncoder())
    assert index.search("name_42") == fresh.search("name_42")
    index.close()
    fresh.close()


def test_an_interrupted_update_leaves_the_index_that_was_there(
    large_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = build([large_repo], tmp_path / "index", fake_encoder)
    commit_files(large_repo, {"m42.py": "quasar = 1\n"})
    files = sorted(path.name for path in (tmp_path / "index").iterdir())
    with pytest.raises(KeyboardInterrupt):
        build([large_repo], tmp_path / "index", Stopping(0))
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == files
    with CodeIndex.open(tmp_path / "index", embedder=fake_encoder) as opened:
        assert opened.manifest == index.manifest
        assert opened.search("name_42") == index.search("name_42")
    index.close()


class Waiting(FakeEncoder):
    """Tells when it is asked to embed, and waits to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.set()
        assert self.go_on.wait(30)
        return super().embed(texts)


def test_a_second_writer_is_turned_away_while_the_first_goes_on(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    waiting = Waiting()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(build, [tiny_repo], tmp_path / "index", waiting)
        try:
            assert waiting.asked.wait(30)
            with pytest.raises(StorageError, match="another `codeqa index` is writing"):
                build([tiny_repo], tmp_path / "index", fake_encoder)
        finally:
            waiting.go_on.set()
        assert first.result().vectors_ready
        first.result().close()


def test_readers_in_threads_see_one_whole_generation_each_time(
    make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    def files(version: int) -> dict[str, str]:
        return {f"m{n}.py": f"shared = {version}\nname_{n} = 1\n" for n in range(30)}

    repo = make_repo(files(0))
    index = build([repo], tmp_path / "index", fake_encoder)
    done = threading.Event()

    def read(refresh: Callable[[], object]) -> int:
        searches = 0
        while not done.is_set():
            refresh()
            hits = index.search("shared name", k=30)
            assert len(hits) == 30
            assert len({(hit.chunk.commit, hit.chunk.text.splitlines()[0]) for hit in hits}) == 1
            searches += 1
        return searches

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, index.refresh if n % 2 else int) for n in range(4)]
        try:
            for version in range(1, 8):
                commit_files(repo, files(version))
                build([repo], tmp_path / "index", FakeEncoder()).close()
        finally:
            done.set()
        assert all(reader.result() for reader in readers)
    assert index.file_text("repo", "m0.py") == files(7)["m0.py"] or index.refresh()
    index.close()


def test_old_generations_are_removed_but_an_open_reader_goes_on(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    index = build([tiny_repo], tmp_path / "index", fake_encoder)
    before = answers(index)
    for number in range(3):
        commit_files(tiny_repo, {"new.py": f"quasar = {number}\n"})
        build([tiny_repo], tmp_path / "index", fake_encoder).close()
    assert len(generations(tmp_path / "index")) == 2
    assert answers(index) == before
    assert index.refresh()
    assert index.file_text("limits", "new.py") == "quasar = 2\n"
    index.close()
