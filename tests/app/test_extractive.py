"""Without a language model, the answer is a cited quotation."""

from collections.abc import Sequence

import pytest

from app.extractive import MAX_WORDS, PLACES, answer_extractively
from data_tools.chunk import Chunk
from retrieval.search import Hit


def hit(path: str, text: str, symbol: str = "", score: float = 1.0, start: int = 1) -> Hit:
    language = "python" if path.endswith(".py") else "markdown"
    end = start + text.count("\n") - 1
    return Hit(score, Chunk("limits", "c", path, start, end, language, symbol, text), None, 0.5)


def all_alike(tokens: Sequence[str]) -> list[float]:
    return [1.0] * len(tokens)


BUCKET = hit(
    "limits/bucket.py",
    "class TokenBucket:\n"
    '    """Limits how often something happens, by tokens that refill over time."""\n\n'
    "    def take(self, tokens: int) -> bool:\n"
    '        """Take tokens, or return False."""\n'
    "        return self._take(tokens)\n",
    "TokenBucket",
    start=10,
)
README = hit("README.md", "# Limits\n\nA small rate limiter.\n", "Limits", score=0.6)


def test_the_definition_that_answers_is_quoted_with_its_docstring_and_cited() -> None:
    extract = answer_extractively(
        "What limits how often something happens?",
        [BUCKET, README],
        rarity=all_alike,
        embedder=None,
    )
    assert "`TokenBucket` in `limits/bucket.py`" in extract.quoted
    assert "by tokens that refill over time" in extract.quoted
    assert "[1:L10-L11]" in extract.quoted


def test_the_next_best_places_are_listed_and_cited() -> None:
    others = [hit(f"m{n}.py", f"x = {n}\n", score=0.5) for n in range(6)]
    extract = answer_extractively("bucket?", [BUCKET, *others], rarity=all_alike, embedder=None)
    assert extract.places.count("\n- ") == PLACES
    assert "`m0.py` [2:L1-L1]" in extract.places


def test_a_method_is_quoted_rather_than_its_class_if_the_question_names_it() -> None:
    extract = answer_extractively(
        "How do I take tokens?", [BUCKET, README], rarity=all_alike, embedder=None
    )
    assert extract.quoted.index("[1:L13-L14]") > 0


def test_the_quotation_never_exceeds_its_bound() -> None:
    long = hit("a.md", "\n\n".join("word " * 59 + "end." for _ in range(4)) + "\n", "A")
    extract = answer_extractively("word end", [long], rarity=all_alike, embedder=None)
    assert 0 < len(extract.quoted.split()) <= MAX_WORDS


def test_a_chunk_with_nothing_to_quote_still_names_places() -> None:
    rule = hit("a.md", "---\n", "A")
    extract = answer_extractively("anything", [rule, BUCKET], rarity=all_alike, embedder=None)
    assert "TokenBucket" in extract.text


def test_quoted_fences_do_not_end_the_quotation() -> None:
    code = hit("a.py", 'def f():\n    """Use it::\n    ```\n    x\n    ```\n    """\n', "f")
    extract = answer_extractively("what is f", [code], rarity=all_alike, embedder=None)
    assert extract.quoted.count("````") == 2


def test_no_evidence_is_a_wrong_argument() -> None:
    with pytest.raises(ValueError, match="no evidence"):
        answer_extractively("anything", [], rarity=all_alike, embedder=None)


def test_a_passage_of_several_definitions_is_named_after_the_quoted_one() -> None:
    both = hit(
        "limits/bucket.py",
        "def refill() -> None:\n    tick()\n\n\n" + BUCKET.chunk.text,
        "refill, limits.TokenBucket",
    )
    extract = answer_extractively("token bucket", [both], rarity=all_alike, embedder=None)
    assert extract.quoted.startswith("`limits.TokenBucket` in `limits/bucket.py`")


def test_a_paragraph_is_named_after_the_heading_it_stands_under() -> None:
    text = "# Limits\n\nA small library.\n\n## Refill\n\nBuckets refill at a steady rate.\n"
    guide = hit("guide.md", text, "Limits, Limits › Refill")
    extract = answer_extractively("steady rate", [guide], rarity=all_alike, embedder=None)
    assert extract.quoted.startswith("`Limits › Refill` in `guide.md`")
