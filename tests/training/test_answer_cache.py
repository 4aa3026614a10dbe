"""What was answered is found again, whatever happened to the process that wrote it."""

from pathlib import Path

from training.answer_cache import AnswerCache, hash_key


def test_values_are_there_for_the_next_process(tmp_path: Path) -> None:
    AnswerCache(tmp_path, "model").add({"one": "Größe", "two": [1.5, 2], "three": None})
    cache = AnswerCache(tmp_path, "model")
    assert [cache[key] for key in ("one", "two", "three")] == ["Größe", [1.5, 2], None]
    assert len(cache) == 3 and "four" not in cache
    assert len(AnswerCache(tmp_path, "other")) == 0


def test_a_line_that_was_cut_off_spoils_neither_the_others_nor_what_follows(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, "model")
    cache.add({"one": "1", "two": "2"})
    cache.file.write_bytes(cache.file.read_bytes()[:-9])
    cache = AnswerCache(tmp_path, "model")
    assert "one" in cache and "two" not in cache
    cache.add({"three": "3"})
    cache = AnswerCache(tmp_path, "model")
    assert (cache["one"], cache["three"]) == ("1", "3")


def test_lines_of_another_form_are_passed_over(tmp_path: Path) -> None:
    lines = (b"[]", b'{"key": 1}', b"null", b"\xff", b'{"key": "k", "value": 5}', b"")
    (tmp_path / "model.jsonl").write_bytes(b"\n".join(lines))
    cache = AnswerCache(tmp_path, "model")
    assert len(cache) == 1 and cache["k"] == 5


def test_what_is_forgotten_is_gone_from_the_disk(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, "model")
    cache.forget()  # nothing is no fault
    cache.add({"one": "1"})
    cache.forget()
    assert not cache.file.exists() and "one" not in cache


def test_keys_tell_apart_what_differs_and_nothing_else() -> None:
    assert hash_key([{"role": "user", "content": "é"}]) == hash_key(
        ({"content": "é", "role": "user"},)
    )
    assert hash_key("ab", "c") != hash_key("a", "bc")
