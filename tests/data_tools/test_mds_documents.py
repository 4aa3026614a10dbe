"""Existing MDS datasets are converted again: texts, and tokens put together and decoded."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.convert import ConvertSettings, convert
from data_tools.documents import Corpus, open_corpus, read_document
from data_tools.errors import DatasetError
from data_tools.mds import import_streaming
from data_tools.tokenizer import load_tokenizer
from tests.data_tools.corpora import make_text, make_texts, tiny_tokenizer, write_texts


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_tokenizer(tmp_path_factory.mktemp("made") / "tokenizer")


def write_mds(folder: Path, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> str:
    streaming = import_streaming()
    options = {"columns": dict(columns), "compression": "zstd", "size_limit": 4000}
    with streaming.MDSWriter(out=str(folder), **options) as writer:
        for row in rows:
            writer.write(row)
    return str(folder)


def texts(corpus: Corpus) -> list[str]:
    return [read_document(item) for item in corpus.documents]


def test_samples_of_text_are_documents(tmp_path: Path) -> None:
    expected = [make_text(at) for at in range(1, 20)]
    write_mds(tmp_path / "c4", {"text": "str"}, ({"text": text} for text in expected))
    corpus = open_corpus("mds", [str(tmp_path / "c4")])
    assert texts(corpus) == expected
    assert corpus.documents[3].path == "00000003"
    assert {item.split for item in corpus.documents} == {None}


def test_splits_of_others_are_dealt_anew_so_that_no_copy_is_in_two(
    tmp_path: Path, tokenizer: str
) -> None:
    for split in ("train", "test"):
        rows = [{"text": make_text(at)} for at in range(1, 11)]
        write_mds(tmp_path / "c4" / split, {"text": "str"}, rows)
    corpus = open_corpus("mds", [str(tmp_path / "c4")])
    assert [item.path for item in corpus.documents][9:11] == ["train/00000009", "test/00000000"]
    convert(corpus, str(tmp_path / "out"), ConvertSettings(tokenizer, 64), name="out")
    again = open_corpus("mds", [str(tmp_path / "out")]).documents
    places = {(item.sha256, item.split, item.group) for item in again}
    assert len(again) == 20
    assert len(places) == 10


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("bos_text", ["", "<|begin_of_text|>"])
def test_windows_of_this_project_give_back_every_document(
    tmp_path: Path, tokenizer: str, wrap: bool, bos_text: str
) -> None:
    folder = write_texts(tmp_path / "notes", make_texts(30))
    original = open_corpus("txt", [str(folder)])
    settings = ConvertSettings(tokenizer, 64, bos_text=bos_text, wrap=wrap, part_bytes=5000)
    convert(original, str(tmp_path / "first"), settings, name="first")
    corpus = open_corpus("mds", [str(tmp_path / "first")])
    assert {item.path: read_document(item) for item in corpus.documents} == make_texts(30)
    assert {item.sha256 for item in corpus.documents} == {i.sha256 for i in original.documents}
    again = convert(corpus, str(tmp_path / "second"), ConvertSettings(tokenizer, 256), name="b")
    third = open_corpus("mds", [str(tmp_path / "second")])
    assert [(i.path, i.split, i.sha256) for i in third.documents] == [
        (i.path, i.split, i.sha256) for i in corpus.documents
    ]
    assert sum(counts.documents for counts in again.splits.values()) == 30


@pytest.mark.parametrize("encoding", ["ndarray:int32:32", "ndarray", "bytes"])
def test_windows_of_others_are_divided_where_texts_end(
    tmp_path: Path, tokenizer: str, encoding: str
) -> None:
    expected = [make_text(at, lines=6) for at in range(1, 12)]
    load = load_tokenizer(tokenizer)
    stream = [
        int(token) for text in expected for token in [*load(text)["input_ids"], load.eos_token_id]
    ]
    whole = len(stream) - len(stream) % 32  # others drop the last window
    kind = np.int64 if encoding == "bytes" else np.int32
    windows = [np.array(stream[at : at + 32], kind) for at in range(0, whole, 32)]
    rows = [{"tokens": item.tobytes() if encoding == "bytes" else item} for item in windows]
    write_mds(tmp_path / "pile", {"tokens": encoding}, rows)
    found = texts(open_corpus("mds", [str(tmp_path / "pile")], source_tokenizer=tokenizer))
    assert found[:-1] == expected[:-1]
    assert expected[-1].startswith(found[-1])


def test_rows_of_different_lengths_are_one_document_each(tmp_path: Path, tokenizer: str) -> None:
    expected = [make_text(at, lines=at) for at in range(1, 9)]
    load = load_tokenizer(tokenizer)
    rows = [{"input_ids": np.array(load(text)["input_ids"], np.int32)} for text in expected]
    write_mds(tmp_path / "rows", {"input_ids": "ndarray:int32"}, rows)
    assert (
        texts(open_corpus("mds", [str(tmp_path / "rows")], source_tokenizer=tokenizer)) == expected
    )


def test_windows_in_which_nothing_ends_are_cut_after_a_while(
    tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_tools.mds_documents.RUN_TOKENS", 100)
    ids = np.array(load_tokenizer(tokenizer)("word " * 500)["input_ids"], np.int32)
    rows = [{"tokens": ids[at : at + 50]} for at in range(0, len(ids) - len(ids) % 50, 50)]
    write_mds(tmp_path / "run", {"tokens": "ndarray:int32:50"}, rows)
    found = texts(open_corpus("mds", [str(tmp_path / "run")], source_tokenizer=tokenizer))
    assert len(found) > 2
    assert ("word " * 500).startswith("".join(found))


def test_tokens_of_an_unknown_tokenizer_are_refused(tmp_path: Path) -> None:
    rows = [{"tokens": np.arange(8, dtype=np.int32)}] * 3
    write_mds(tmp_path / "pile", {"tokens": "ndarray:int32:8"}, rows)
    with pytest.raises(DatasetError, match="say whose with --source-tokenizer NAME"):
        open_corpus("mds", [str(tmp_path / "pile")])


def test_a_tokenizer_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    name = tiny_tokenizer(tmp_path / "tokenizer")
    folder = write_texts(tmp_path / "notes", make_texts(6))
    corpus = open_corpus("txt", [str(folder)])
    convert(corpus, str(tmp_path / "first"), ConvertSettings(name, 64), name="first")
    tiny_tokenizer(tmp_path / "tokenizer", vocab_size=600)
    with pytest.raises(DatasetError, match="was made with another tokenizer than"):
        open_corpus("mds", [str(tmp_path / "first")])


def test_other_columns_are_refused_by_name(tmp_path: Path) -> None:
    write_mds(tmp_path / "images", {"label": "int"}, [{"label": 1}])
    with pytest.raises(DatasetError, match="has the columns label; it needs `text`"):
        open_corpus("mds", [str(tmp_path / "images")])


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no MDS dataset"):
        open_corpus("mds", [str(tmp_path)])


def test_several_datasets_together_are_dealt_anew(tmp_path: Path, tokenizer: str) -> None:
    corpus = open_corpus("txt", [str(write_texts(tmp_path / "notes", make_texts(12)))])
    for name, seed in (("one", 1), ("two", 2)):
        settings = ConvertSettings(tokenizer, 64, seed=seed)
        convert(corpus, str(tmp_path / name), settings, name=name)
    both = [str(tmp_path / "one"), str(tmp_path / "two")]
    with pytest.raises(DatasetError, match="two documents are called"):
        open_corpus("mds", both)  # they are of the same repository
    rows = [{"text": text} for text in make_texts(12).values()]
    write_mds(tmp_path / "c4", {"text": "str"}, rows)
    mixed = open_corpus("mds", [both[0], str(tmp_path / "c4")])
    assert {item.split for item in mixed.documents} == {None}
    report = convert(mixed, str(tmp_path / "out"), ConvertSettings(tokenizer, 64), name="out")
    assert sum(counts.near_duplicates for counts in report.splits.values()) == 24
