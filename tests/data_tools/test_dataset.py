"""Versions of datasets: described, checked, found again by name."""

import json
from pathlib import Path

import pytest

from data_tools.dataset import (
    DatasetManifest,
    DatasetSource,
    SplitCounts,
    check_name,
    content_hash,
    datasets_folder,
    is_current,
    locate,
    make_manifest,
    new_dataset,
    read_manifest,
    register,
    resolve,
    verify,
    versions,
    write_manifest,
)
from data_tools.errors import DatasetError, StorageError


def make_dataset(folder: Path, content: str = "one", name: str = "notes") -> DatasetManifest:
    """Write a dataset of one file."""
    with new_dataset(folder) as draft:
        (draft / "train.jsonl").write_text(content)
        manifest = make_manifest(
            draft,
            name=name,
            hash=content_hash({"content": content}),
            kind="pairs",
            sources=[DatasetSource(repo="limits", location=".", commit="c" * 40, files=1)],
            settings={"seed": 17},
            splits={"train": SplitCounts(documents=1, samples=1)},
        )
        write_manifest(draft, manifest)
    return manifest.model_copy(update={"checksum": manifest.measure()})


def test_a_dataset_is_described_and_found_whole(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path / "notes")
    assert read_manifest(tmp_path / "notes") == manifest
    assert verify(tmp_path / "notes") == manifest
    assert manifest.version == f"notes@{manifest.hash[:12]}"
    assert set(manifest.files) == {"train.jsonl"}
    assert manifest.created_at.endswith("+00:00")


def test_the_hash_is_of_content_whatever_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": [2, 3]}) == content_hash({"b": [2, 3], "a": 1})
    assert content_hash({"a": 1, "b": [2, 3]}) != content_hash({"a": 1, "b": [3, 2]})


def test_a_step_is_current_only_with_the_same_inputs_and_all_files(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    assert not is_current(folder, "0" * 64)
    manifest = make_dataset(folder)
    assert is_current(folder, manifest.hash)
    assert not is_current(folder, "0" * 64)
    (folder / "train.jsonl").unlink()
    assert not is_current(folder, manifest.hash)


def test_an_altered_file_is_named_with_its_hashes(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path / "notes")
    (tmp_path / "notes" / "train.jsonl").write_text("other")
    with pytest.raises(
        DatasetError, match=r"train\.jsonl of .* is damaged: its sha256 is"
    ) as caught:
        verify(tmp_path / "notes")
    assert manifest.files["train.jsonl"][:12] in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path / "notes")
    (tmp_path / "notes" / "train.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"train\.jsonl of .* cannot be read"):
        verify(tmp_path / "notes")


def test_what_is_no_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="codeqa convert"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": 3}', "null", "3"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DatasetError, match=r"manifest\.json of .* is damaged"):
        read_manifest(tmp_path)


def test_a_manifest_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "manifest.json").write_text('{"embedder": "MiniLM"}')
    with pytest.raises(StorageError, match="is no dataset's, so it is not replaced"):
        make_dataset(tmp_path / "index")


def test_a_version_is_found_again_by_its_name(tmp_path: Path) -> None:
    old = make_dataset(tmp_path / "old", "one")
    new = make_dataset(tmp_path / "new", "two")
    register(tmp_path / "old", old.model_copy(update={"created_at": "2001-01-01T00:00:00+00:00"}))
    entry = register(tmp_path / "new")
    assert entry.version == new.version
    assert resolve("notes") == tmp_path / "new"
    assert resolve(old.version) == tmp_path / "old"
    assert resolve(f"notes@{old.hash[:6]}") == tmp_path / "old"
    assert resolve(str(tmp_path / "old")) == tmp_path / "old"
    assert [item.version for item in versions()] == [old.version, new.version]


def test_a_version_that_was_overwritten_is_not_taken_for_another(tmp_path: Path) -> None:
    old = make_dataset(tmp_path / "notes", "one")
    register(tmp_path / "notes")
    make_dataset(tmp_path / "notes", "two")
    with pytest.raises(DatasetError, match=f"no longer holds {old.version} but notes@"):
        locate(old.version)


@pytest.mark.parametrize("reference", ["none", "none@0123abcd", "a/b/c", "no such name"])
def test_an_unknown_dataset_is_refused(reference: str) -> None:
    with pytest.raises(DatasetError, match="dataset"):
        resolve(reference)


def test_a_url_is_its_own_place() -> None:
    assert locate("s3://bucket/notes") == "s3://bucket/notes"


def test_what_is_no_note_among_the_versions_is_passed_over(tmp_path: Path) -> None:
    make_dataset(tmp_path / "notes")
    register(tmp_path / "notes")
    (datasets_folder() / "stray.json").write_text("{")
    assert len(versions()) == 1


def test_versions_are_noted_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQA_DATASETS", str(tmp_path / "versions"))
    manifest = make_dataset(tmp_path / "notes")
    register(tmp_path / "notes")
    note = json.loads((tmp_path / "versions" / f"{manifest.version}.json").read_text())
    assert note["location"] == str(tmp_path / "notes")


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "x" * 81, "a@b", "é"])
def test_names_that_no_file_could_have_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match="cannot be called"):
        check_name(name)


def test_a_manifest_with_a_letter_changed_is_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path / "notes")
    file = tmp_path / "notes" / "manifest.json"
    file.write_text(file.read_text().replace('"limits"', '"limitz"'))
    with pytest.raises(DatasetError, match="is damaged"):
        read_manifest(tmp_path / "notes")
