"""A made tokenizer loses nothing, and a hash tells tokenizers apart."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.documents import open_corpus
from data_tools.errors import ModelError, StorageError
from data_tools.tokenizer import (
    BOS,
    EOS,
    PAD,
    SPECIAL_TOKENS,
    load_tokenizer,
    make_tokenizer,
    tokenizer_hash,
    train_tokenizer,
)
from tests.data_tools.corpora import make_texts, tiny_tokenizer, write_texts

TOKENIZER = train_tokenizer(make_texts(5).values(), 512)


@given(st.text())
def test_every_text_comes_back_unchanged(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode("utf-8")
    for special in (True, False):
        ids = TOKENIZER(text, add_special_tokens=False, split_special_tokens=special)["input_ids"]
        assert TOKENIZER.decode(ids) == text


def test_code_comes_back_unchanged_and_indentation_is_few_tokens() -> None:
    text = "class A:\n\tdef b(self):\r\n        return  1 \n\n\n    # é 漢字 🙂 \x00"
    ids = TOKENIZER(text)["input_ids"]
    assert TOKENIZER.decode(ids) == text
    assert len(TOKENIZER("\n    return x")["input_ids"]) < 8


def test_begin_end_and_padding_are_three_tokens() -> None:
    ids = {TOKENIZER.bos_token_id, TOKENIZER.eos_token_id, TOKENIZER.pad_token_id}
    assert len(ids) == 3
    assert [TOKENIZER.convert_tokens_to_ids(token) for token in (BOS, EOS, PAD)] == [1, 2, 0]
    assert len(TOKENIZER) == 512


def test_the_chat_template_is_chatml_and_marks_what_the_assistant_writes() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    text = str(TOKENIZER.apply_chat_template(turns, tokenize=False))
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n"
    prompt = TOKENIZER.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert text.startswith(str(prompt))
    marked: Any = TOKENIZER.apply_chat_template(turns, return_assistant_tokens_mask=True)
    pairs = zip(marked["input_ids"], marked["assistant_masks"], strict=True)
    assert TOKENIZER.decode([token for token, mask in pairs if mask]) == "Ho<|im_end|>"


def test_the_same_texts_make_the_same_tokenizer() -> None:
    again = train_tokenizer(make_texts(5).values(), 512)
    assert tokenizer_hash(again) == tokenizer_hash(TOKENIZER)
    other = train_tokenizer(make_texts(9).values(), 512)
    assert tokenizer_hash(other) != tokenizer_hash(TOKENIZER)


def test_the_hash_survives_saving_and_is_of_content_alone(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path / "a")
    loaded = load_tokenizer(str(tmp_path / "a"))
    assert tokenizer_hash(loaded) == tokenizer_hash(TOKENIZER)
    loaded(["a", "b c"], padding=True, truncation=True, max_length=2, split_special_tokens=True)
    loaded.model_max_length = 77
    assert tokenizer_hash(loaded) == tokenizer_hash(TOKENIZER)
    loaded.chat_template = "{{ messages[0]['content'] }}"
    assert tokenizer_hash(loaded) != tokenizer_hash(TOKENIZER)
    loaded = load_tokenizer(str(tmp_path / "a"))
    loaded.pad_token = EOS
    assert tokenizer_hash(loaded) != tokenizer_hash(TOKENIZER)


def test_a_vocabulary_that_cannot_hold_every_byte_is_refused() -> None:
    with pytest.raises(ValueError, match=f"at least {256 + len(SPECIAL_TOKENS)}"):
        train_tokenizer(["text"], 100)


def test_making_it_again_is_skipped_unless_something_changed(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts", make_texts(3))
    corpus = open_corpus("txt", [str(texts)])
    assert make_tokenizer(corpus, tmp_path / "tokenizer", 512)
    assert not make_tokenizer(corpus, tmp_path / "tokenizer", 512)
    assert make_tokenizer(corpus, tmp_path / "tokenizer", 512, force=True)
    assert make_tokenizer(corpus, tmp_path / "tokenizer", 600)
    write_texts(texts, {"new.txt": "something else"})
    assert make_tokenizer(open_corpus("txt", [str(texts)]), tmp_path / "tokenizer", 600)
    assert len(load_tokenizer(str(tmp_path / "tokenizer"))) <= 600


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "mine", {"thesis.txt": "years of work"})
    with pytest.raises(StorageError, match="is not replaced"):
        make_tokenizer(open_corpus("txt", [str(folder)]), folder, 512)
    assert (folder / "thesis.txt").read_text("utf-8") == "years of work"


def test_what_is_no_tokenizer_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    broken = Path(tiny_tokenizer(tmp_path / "broken"))
    (broken / "tokenizer.json").write_text(json.dumps({"model": "none"}))
    names = [str(tmp_path / "empty"), str(broken), str(tmp_path / "no"), "no/", "../no", "a/b/c"]
    for name in [*names, "nobody/has-this"]:
        with pytest.raises(ModelError, match="codeqa tokenizer CORPUS --out DIR") as caught:
            load_tokenizer(name)
        assert "\n" not in str(caught.value)
