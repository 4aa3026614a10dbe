"""Text corpora are listed as whole documents under their original names."""

import hashlib
from pathlib import Path

import pytest

from data_tools.documents import open_corpus, read_document
from data_tools.errors import DatasetError
from data_tools.flatten import flatten
from tests.conftest import TINY_FILES
from tests.data_tools.corpora import write_texts
from tests.git_repositories import MakeRepo


def test_a_flattened_repository_keeps_paths_commit_and_indentation(
    tiny_repo: Path, tmp_path: Path
) -> None:
    (report,) = flatten([str(tiny_repo)], tmp_path / "corpus")
    corpus = open_corpus("txt", [str(tmp_path / "corpus")])
    assert {item.path: read_document(item) for item in corpus.documents} == TINY_FILES
    assert {item.repo for item in corpus.documents} == {"limits"}
    (source,) = corpus.sources
    assert source.commit == report.repository.commit
    assert source.files == len(TINY_FILES)
    text = TINY_FILES["limits/bucket.py"].encode()
    bucket = next(item for item in corpus.documents if item.path == "limits/bucket.py")
    assert (bucket.bytes, bucket.sha256) == (len(text), hashlib.sha256(text).hexdigest())


def test_one_repository_of_a_corpus_can_be_given(make_repo: MakeRepo, tmp_path: Path) -> None:
    repos = [make_repo({"a.py": "x = 1\n"}, "one"), make_repo({"a.py": "x = 2\n"}, "two")]
    flatten([str(repo) for repo in repos], tmp_path / "corpus")
    both = open_corpus("txt", [str(tmp_path / "corpus")])
    assert [item.repo for item in both.documents] == ["one", "two"]
    one = open_corpus("txt", [str(tmp_path / "corpus" / "two")])
    assert [item.repo for item in one.documents] == ["two"]


def test_a_plain_folder_gives_its_text_files_in_order(tmp_path: Path) -> None:
    texts = {"b.txt": "b\r\n\tb", "a/z.txt": "z", "empty.txt": "", "picture.png": "p"}
    corpus = open_corpus("txt", [str(write_texts(tmp_path / "notes", texts))])
    assert [item.path for item in corpus.documents] == ["a/z.txt", "b.txt"]
    assert read_document(corpus.documents[1]) == "b\r\n\tb"
    assert corpus.documents[0].repo == "notes"
    assert corpus.bytes == 6


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "notes", {"a.txt": "a"})
    (folder / "b.txt").symlink_to("/etc/hostname")
    assert [item.path for item in open_corpus("txt", [str(folder)]).documents] == ["a.txt"]


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[int] = []
    write_texts(tmp_path / "many", {f"{at}.txt": "x" for at in range(401)})
    open_corpus("txt", [str(tmp_path / "many")], report=lambda step: seen.append(step.done))
    assert seen == [200, 400]


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="there is no text in .*codeqa flatten"):
        open_corpus("txt", [str(tmp_path / "empty")])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no .*gone"):
        open_corpus("txt", [str(tmp_path / "gone")])


def test_bytes_that_are_no_text_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "notes", {"a.txt": "a"})
    (folder / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"b\.txt is not UTF-8 text"):
        open_corpus("txt", [str(folder)])


def test_a_flattened_file_that_is_gone_is_named(tiny_repo: Path, tmp_path: Path) -> None:
    flatten([str(tiny_repo)], tmp_path / "corpus")
    (tmp_path / "corpus" / "limits" / "README.md.txt").unlink()
    with pytest.raises(DatasetError, match=r"README\.md\.txt .*flatten the repository again"):
        open_corpus("txt", [str(tmp_path / "corpus")])


def test_a_damaged_manifest_is_named_with_its_line(tiny_repo: Path, tmp_path: Path) -> None:
    flatten([str(tiny_repo)], tmp_path / "corpus")
    manifest = tmp_path / "corpus" / "limits" / "manifest.jsonl"
    manifest.write_text(manifest.read_text() + "{}\n")
    with pytest.raises(DatasetError, match=rf"manifest\.jsonl:{len(TINY_FILES) + 1}: .*flatten"):
        open_corpus("txt", [str(tmp_path / "corpus")])


def test_a_manifest_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    line = '{"repo": "r", "commit": "c", "path": "../../secret"}\n'
    write_texts(tmp_path, {"secret.txt": "secret", "corpus/r/manifest.jsonl": line})
    with pytest.raises(DatasetError, match="run `codeqa flatten` again"):
        open_corpus("txt", [str(tmp_path / "corpus")])


def test_two_documents_of_one_name_are_refused(tmp_path: Path) -> None:
    one = write_texts(tmp_path / "x" / "notes", {"a.txt": "1"})
    two = write_texts(tmp_path / "y" / "notes", {"a.txt": "2"})
    with pytest.raises(DatasetError, match=r"two documents are called a\.txt of notes"):
        open_corpus("txt", [str(one), str(two)])
