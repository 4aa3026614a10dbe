"""Index folders that are missing, truncated, altered or of another kind, and how they heal."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data_tools.errors import (
    CodeQAError,
    EmbedderMismatchError,
    IndexDamagedError,
    IndexMissingError,
    IndexVersionError,
    SourceError,
)
from retrieval import CodeIndex, Progress
from retrieval.generations import CURRENT, FORMAT, MANIFEST, current_generation, read_manifest
from retrieval.index import index_repositories
from retrieval.lexical import LexicalIndex
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo
from tests.permissions import not_as_root


@pytest.fixture
def folder(tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder) -> Path:
    """An index that is whole."""
    CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder).close()
    return tmp_path / "index"


def remove(file: Path) -> None:
    file.unlink()


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def error_of(folder: Path) -> str:
    """The one line of the IndexDamagedError that opening the index raises: it names the fix."""
    with pytest.raises(IndexDamagedError) as caught:
        CodeIndex.open(folder)
    message = str(caught.value)
    assert message.isprintable()
    assert f"run `codeqa index REPO --index {folder}` again" in message
    return message


@pytest.mark.parametrize("damage", [remove, truncate, empty, lengthen, flip_a_bit])
def test_damage_to_any_file_is_found_before_it_is_read(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    whole = folder.with_name("whole")
    shutil.copytree(folder, whole)
    generation = current_generation(folder)
    names = sorted(read_manifest(generation).files)
    assert {"chunks.sqlite", "vectors.faiss", "lexical/meta.json"} <= set(names)
    for name in names:
        damage(generation / name)
        assert f"is damaged ({name} " in error_of(folder)
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
    CodeIndex.open(folder).close()


@pytest.mark.parametrize("damage", [remove, truncate, empty, lengthen, flip_a_bit])
@pytest.mark.parametrize("name", ["vectors.faiss", "vectors.f16"])
def test_damage_to_the_vectors_of_a_large_index_is_found_and_heals(
    tiny_repo: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder, encoder = tmp_path / "large", FakeEncoder()
    index_repositories([str(tiny_repo)], folder, embedder=encoder, exact_up_to=0)
    damage(current_generation(folder) / name)
    assert f"is damaged ({name} " in error_of(folder)
    encoder.embedded = 0
    index_repositories([str(tiny_repo)], folder, embedder=encoder, exact_up_to=0)
    assert encoder.embedded == 0
    CodeIndex.open(folder).close()


@pytest.mark.parametrize("name", [CURRENT, MANIFEST, "chunks.sqlite", "vectors.faiss"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: Path, name: str) -> None:
    file = (folder if name == CURRENT else current_generation(folder)) / name
    file.unlink()
    os.mkfifo(file)
    assert name in error_of(folder)


@pytest.mark.parametrize("name", [MANIFEST, "chunks.sqlite", "lexical/meta.json"])
def test_a_file_that_may_not_be_read_is_told_of(
    tiny_repo: Path, fake_encoder: FakeEncoder, name: str
) -> None:
    with not_as_root() as place:
        os.environ["GIT_CONFIG_GLOBAL"] = os.devnull
        source = place / "source"
        source.mkdir()
        (source / "a.py").write_text("token = 1\n")
        CodeIndex.build([str(source)], place / "index", embedder=fake_encoder).close()
        (current_generation(place / "index") / name).chmod(0)
        assert f"{name} cannot be read" in error_of(place / "index")


@pytest.mark.parametrize("suffix", [".term", ".idx", ".fast", ".pos", ".fieldnorm", ".store"])
def test_words_that_tantivy_cannot_read_are_an_error_and_no_panic(
    folder: Path, suffix: str
) -> None:
    """Where they were not hashed before: Rust's panics are no `Exception` of Python's."""
    words = current_generation(folder) / "lexical"
    (file,) = words.glob(f"*{suffix}")
    data = file.read_bytes()
    file.write_bytes(b"\xff" * (len(data) // 2) + data[len(data) // 2 :])
    with pytest.raises(IndexDamagedError, match="the words cannot be read"):
        LexicalIndex.open(words).search(["token", "bucket"], 5)


@pytest.mark.parametrize("damage", [remove, truncate, empty])
def test_a_damaged_manifest_is_refused(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(current_generation(folder) / MANIFEST)
    assert f"({MANIFEST} cannot be read)" in error_of(folder)


def test_no_altered_byte_of_a_manifest_goes_unnoticed(folder: Path) -> None:
    file = current_generation(folder) / MANIFEST
    whole, manifest = file.read_bytes(), read_manifest(file.parent)
    for position in range(0, len(whole), 3):
        data = bytearray(whole)
        data[position] ^= 1
        file.write_bytes(data)
        try:
            assert read_manifest(file.parent) == manifest  # a space in place of another
        except (IndexDamagedError, IndexVersionError):
            continue


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"generation-000099",
        b"generation-",
        b"..",
        b"../index/generation-000002",
        b"/",
        b"\0\0",
        b"\xff\xfe",
        b"g" * 10_000,
    ],
)
def test_a_current_that_names_no_generation_is_refused_and_heals(
    folder: Path, tiny_repo: Path, content: bytes
) -> None:
    (folder / CURRENT).write_bytes(content)
    assert CURRENT in error_of(folder)
    again = FakeEncoder()
    CodeIndex.build([str(tiny_repo)], folder, embedder=again).close()
    assert again.embedded == 0
    CodeIndex.open(folder, embedder=again).close()


@pytest.mark.parametrize(
    "name", ["chunks.sqlite", "vectors.faiss", "lexical/meta.json", MANIFEST, CURRENT]
)
def test_indexing_again_heals_an_index_and_embeds_nothing(
    folder: Path, tiny_repo: Path, name: str
) -> None:
    before = CodeIndex.open(folder, embedder=FakeEncoder())
    hits = before.search("token bucket")
    place = folder if name == CURRENT else current_generation(folder)
    (place / name).write_bytes(b"garbage")
    steps: list[Progress] = []
    again = FakeEncoder()
    with CodeIndex.build([str(tiny_repo)], folder, embedder=again, report=steps.append) as healed:
        assert again.embedded == 0
        assert healed.search("token bucket") == hits
    notices = [step.message for step in steps if step.stage == "notice"]
    assert [notice.partition(":")[0] for notice in notices] == ["starting afresh"]
    before.close()


def test_a_damaged_index_gets_back_the_repositories_that_were_not_named(
    folder: Path, tiny_repo: Path, make_repo: MakeRepo, fake_encoder: FakeEncoder
) -> None:
    bees = make_repo({"bees.py": "dance = 1\n"}, "bees")
    index_repositories([str(bees)], folder, embedder=fake_encoder)
    flip_a_bit(current_generation(folder) / "chunks.sqlite")
    report = index_repositories([str(bees)], folder, embedder=fake_encoder)
    assert {record.name for record in report.manifest.repositories} == {"limits", "bees"}
    flip_a_bit(current_generation(folder) / "chunks.sqlite")
    shutil.rmtree(tiny_repo)
    with pytest.raises(SourceError, match="does not exist"):
        index_repositories([str(bees)], folder, embedder=fake_encoder)


def test_an_index_can_be_updated_though_its_words_are_damaged(
    folder: Path, fake_encoder: FakeEncoder
) -> None:
    flip_a_bit(current_generation(folder) / "lexical" / "meta.json")
    assert index_repositories((), folder, embedder=fake_encoder).changed
    flip_a_bit(current_generation(folder) / MANIFEST)
    with pytest.raises(CodeQAError, match="again"):  # what it held is not known any more
        index_repositories((), folder, embedder=fake_encoder)


def test_another_format_is_refused_and_made_anew(folder: Path, tiny_repo: Path) -> None:
    file = current_generation(folder) / MANIFEST
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {"format": FORMAT + 1, "unheard": "of"}))
    wanted = f"has format {FORMAT + 1}, this codeqa reads {FORMAT}; run `codeqa index REPO"
    with pytest.raises(IndexVersionError, match=wanted):
        CodeIndex.open(folder)
    again = FakeEncoder()
    CodeIndex.build([str(tiny_repo)], folder, embedder=again).close()
    assert again.embedded == 0
    assert read_manifest(current_generation(folder)).format == FORMAT


def test_an_index_of_another_model_names_both(folder: Path) -> None:
    with pytest.raises(EmbedderMismatchError, match="with fake-encoder .* not fake-encoder"):
        CodeIndex.open(folder, embedder=FakeEncoder("another"))


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_a_folder_without_an_index_says_what_to_run(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "here")
    with pytest.raises(IndexMissingError, match="run `codeqa index` first"):
        CodeIndex.open(tmp_path / "here")


def test_the_folder_holds_no_pickle_and_nothing_unlisted(folder: Path) -> None:
    generation = current_generation(folder)
    files = {
        file.relative_to(generation).as_posix() for file in generation.rglob("*") if file.is_file()
    }
    listed = set(read_manifest(generation).files)
    assert listed < files
    assert {name for name in files - listed if not name.endswith(".lock")} == {MANIFEST}
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "CURRENT",
        "LOCK",
        "embeddings.sqlite",
        "generation-000001",
        "generation-000002",
    }
    for file in folder.rglob("*"):
        assert file.suffix not in (".pkl", ".pickle", ".bin")
        assert not file.is_file() or not file.read_bytes().startswith(b"\x80\x04")
