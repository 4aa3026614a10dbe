"""Bits per byte are measured on the files that a dataset says were held out, unchanged."""

import hashlib
import json
from pathlib import Path

import pytest

from data_tools.documents import read_document
from data_tools.errors import DatasetError
from data_tools.flatten import flatten
from training.evaluation_texts import open_held_out, open_replay

HELD = {"limits/bucket.py": "test", "web/client.ts": "validation"}


@pytest.fixture
def corpus(tiny_repo: Path, tmp_path: Path) -> Path:
    """The small repository as text."""
    flatten([str(tiny_repo)], tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.fixture
def dataset(corpus: Path, tmp_path: Path) -> Path:
    """What `codeqa convert` says of its documents."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    lines = []
    for file in sorted((corpus / "limits").rglob("*.txt")):
        path = file.relative_to(corpus / "limits").as_posix().removesuffix(".txt")
        lines.append(
            {
                "repo": "limits",
                "path": path,
                "split": HELD.get(path, "train"),
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "bytes": file.stat().st_size,
                "group": None,
            }
        )
    (folder / "documents.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_one_split_is_measured_and_the_training_split_is_what_frequencies_are_of(
    corpus: Path, dataset: Path
) -> None:
    found = open_held_out(corpus, dataset, "test")
    [held_out] = found.held_out
    assert held_out.path == "limits/bucket.py"
    assert read_document(held_out).startswith('"""The token bucket."""\n\nimport time')
    texts = list(found.trained_texts())
    assert len(texts) == 5
    assert not any("class TokenBucket" in text or "fetchWithRetry" in text for text in texts)


def test_a_corpus_that_has_changed_since_is_refused(corpus: Path, dataset: Path) -> None:
    (corpus / "limits/limits/bucket.py.txt").write_text("pass\n")
    with pytest.raises(DatasetError, match=r"limits/limits/bucket\.py of .* has changed"):
        open_held_out(corpus, dataset, "test")


def test_a_corpus_of_other_files_is_refused(corpus: Path, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("text")
    with pytest.raises(DatasetError, match="holds no limits/"):
        open_held_out(tmp_path / "other", dataset, "test")


def test_a_split_without_files_is_refused(corpus: Path, dataset: Path) -> None:
    file = dataset / "documents.jsonl"
    file.write_text(file.read_text().replace('"test"', '"train"'))
    with pytest.raises(DatasetError, match="no file of the split test; choose another"):
        open_held_out(corpus, dataset, "test")


def test_a_folder_that_is_no_dataset_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no documents\.jsonl"):
        open_held_out(corpus, tmp_path, "test")
    (tmp_path / "documents.jsonl").write_text('{"repo": "limits"}\n')
    with pytest.raises(DatasetError, match="is damaged"):
        open_held_out(corpus, tmp_path, "test")


def test_replay_text_is_a_file_a_folder_or_rows(tmp_path: Path) -> None:
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "a.txt").write_text("one\n")
    (tmp_path / "replay" / "b.txt").write_text("two\n")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "three"}\n{"prompt": "four", "response": "five"}\n')
    texts = [
        [read_document(each) for each in open_replay(place, "test")]
        for place in (tmp_path / "replay", tmp_path / "replay" / "b.txt", rows)
    ]
    assert texts[:2] == [["one\n", "two\n"], ["two\n"]]
    assert texts[2][0] == "three" and len(texts[2]) == 2


def test_a_place_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        open_replay(tmp_path, "test")
    with pytest.raises(DatasetError, match="check its name"):
        open_replay(tmp_path / "none.txt", "test")
