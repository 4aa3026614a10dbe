"""Short words of code for the long ones of a question, and the other way round."""

import pytest

from retrieval.lexical import query_tokens
from retrieval.synonyms import related_words


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("expression", {"expr"}),
        ("exprs", {"express"}),
        ("Parameters", {"param"}),
        ("the C++ parser", {"cpp"}),
        ("method resolution order", {"mro"}),
        ("cross-references", {"xref", "ref"}),
        ("cross references", {"xref", "ref"}),
        ("its equality comparison", {"eq"}),
        ("the constructor", {"init"}),
        ("left-hand side", {"lhs"}),
        ("nothing to see", set()),
        ("", set()),
    ],
)
def test_a_question_is_widened_by_what_means_the_same(question: str, words: set[str]) -> None:
    assert set(related_words(question)) == words


def test_each_word_comes_once_and_none_that_the_question_holds() -> None:
    words = related_words("Which configuration of the config, and which conf?")
    assert words == ["cfg"]
    assert not set(words) & set(query_tokens("configuration config conf"))


def test_part_of_a_word_is_not_a_phrase() -> None:
    assert "mro" not in related_words("a method of resolution in order")
    assert "__hash__" not in related_words("rehashing")
