"""Documents become windows of tokens, none lost and none made up."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.documents import Document
from data_tools.mds import Sample
from data_tools.tokenizer import train_tokenizer
from data_tools.windows import Part, WindowSettings, part_samples, plan_parts
from tests.data_tools.corpora import decode, make_text, make_texts

TOKENIZER = train_tokenizer(make_texts(5).values(), 512)
EOS = "<|end_of_text|>"
BOS = "<|begin_of_text|>"


def make_part(texts: list[str]) -> tuple[Part, dict[str, str]]:
    """A part of documents, and their texts by path."""
    paths = {f"{at}.py": text for at, text in enumerate(texts)}
    documents = [Document("repo", path, "txt", "", bytes=len(text)) for path, text in paths.items()]
    return Part(0, tuple(documents)), paths


def windows(texts: list[str], settings: WindowSettings) -> list[Sample]:
    part, paths = make_part(texts)
    return list(part_samples(part, TOKENIZER, settings, read=lambda item: paths[item.path]))


def real(samples: list[Sample]) -> list[int]:
    return [int(token) for sample in samples for token in sample["input_ids"][: sample["length"]]]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8), st.integers(1, 20))
def test_documents_run_on_and_no_token_is_lost(texts: list[str], size: int) -> None:
    texts = [text.encode("utf-8", "ignore").decode("utf-8") for text in texts]
    samples = windows(texts, WindowSettings(size, eos_text=EOS))
    assert decode(real(samples), TOKENIZER) == "".join(text + EOS for text in texts)
    assert all(sample["length"] == size for sample in samples[:-1])
    assert 0 < samples[-1]["length"] <= size
    assert all(sample["input_ids"].shape == (size,) for sample in samples)
    assert all(sample["input_ids"].dtype == np.int32 for sample in samples)


def test_the_last_window_is_padded_with_the_padding_token() -> None:
    sample = windows(["a b c"], WindowSettings(64, eos_text=EOS))[-1]
    rest = sample["input_ids"][sample["length"] :]
    assert len(rest) and set(rest.tolist()) == {TOKENIZER.pad_token_id}
    assert sample["input_ids"][sample["length"] - 1] == TOKENIZER.eos_token_id


def test_without_wrapping_each_document_begins_a_window() -> None:
    texts = [make_text(1), "short", make_text(2)]
    samples = windows(texts, WindowSettings(32, bos_text=BOS, eos_text=EOS, wrap=False))
    starts = [at for at, item in enumerate(samples) if item["input_ids"][0] == 1]
    assert len(starts) == 3
    assert decode(real(samples), TOKENIZER) == "".join(BOS + text + EOS for text in texts)


def test_text_around_documents_may_be_plain() -> None:
    samples = windows(["one", "two"], WindowSettings(8, bos_text="# begin\n", eos_text="\n# end\n"))
    expected = "# begin\none\n# end\n# begin\ntwo\n# end\n"
    assert decode(real(samples), TOKENIZER) == expected


def test_a_document_that_mentions_a_special_token_does_not_end_there() -> None:
    ids = real(windows([f'EOS = "{EOS}"\n'], WindowSettings(64, eos_text=EOS)))
    assert ids.count(TOKENIZER.eos_token_id) == 1
    assert ids[-1] == TOKENIZER.eos_token_id
    assert decode(ids, TOKENIZER) == f'EOS = "{EOS}"\n{EOS}'


def test_indentation_and_line_ends_are_kept() -> None:
    text = "if x:\r\n\tif y:\n        pass  \n\n\n"
    assert decode(real(windows([text], WindowSettings(16))), TOKENIZER) == text


def test_more_text_than_is_tokenised_at_once_gives_the_same_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [make_text(at) for at in range(1, 20)]
    together = windows(texts, WindowSettings(50, eos_text=EOS))
    monkeypatch.setattr("data_tools.windows._BATCH_CHARS", 1000)
    one_by_one = windows(texts, WindowSettings(50, eos_text=EOS))
    assert real(together) == real(one_by_one)
    assert len(together) == len(one_by_one)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 100))
def test_parts_hold_every_document_once_and_are_large_enough(sizes: list[int], least: int) -> None:
    documents = [Document("r", str(at), "txt", "", bytes=size) for at, size in enumerate(sizes)]
    parts = plan_parts(documents, least)
    assert [document for part in parts for document in part.documents] == documents
    assert [part.index for part in parts] == list(range(len(parts)))
    if len(parts) > 1:
        assert all(sum(item.bytes for item in part.documents) >= least for part in parts)


def test_parts_are_converted_apart_from_each_other(tmp_path: Path) -> None:
    texts = [make_text(at) for at in range(1, 9)]
    part, paths = make_part(texts)
    settings = WindowSettings(64, eos_text=EOS)
    halves = [Part(0, part.documents[:4]), Part(1, part.documents[4:])]
    apart = [
        list(part_samples(half, TOKENIZER, settings, read=lambda item: paths[item.path]))
        for half in halves
    ]
    assert decode(real([*apart[0], *apart[1]]), TOKENIZER) == "".join(text + EOS for text in texts)
    assert real(apart[1]) == real(windows(texts[4:], settings))
