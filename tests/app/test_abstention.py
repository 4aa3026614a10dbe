"""When evidence is too weak, what is said to be missing, and what never counts as missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.abstention import (
    COVERAGE_WEIGHT,
    ENOUGH_WORDS,
    MIN_COVERAGE,
    MIN_STRENGTH,
    coverage,
    find_names,
    missing_words,
)
from retrieval import CodeIndex
from retrieval.search import Hit
from tests.fakes import FakeEncoder, MakeChunk
from tests.git_repositories import make_repository

FILES = {
    "limits/bucket.py": '''class TokenBucket:
    """Holds tokens and gains some of them a second."""

    def seconds_until(self, amount: float) -> float:
        """Return how long it takes until an amount of tokens is there."""
        return amount / self.rate
''',
    "limits/early_stopping_rule.py": "PATIENCE = 3\n",
    "web/notes.md": "# Notes\n\nThe page retries, with a wait-time that the server tells.\n",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeIndex]:
    """An index with vectors of the fake encoder."""
    repo = make_repository(tmp_path_factory.mktemp("repos") / "limits", FILES)
    folder = tmp_path_factory.mktemp("index")
    with CodeIndex.build([str(repo)], folder, embedder=FakeEncoder()) as index:
        yield index


def judge(index: CodeIndex, question: str) -> list[str] | None:
    """What is missing in the evidence that a search finds."""
    return missing_words(index, question, index.search(question))


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What does `seconds_until` return?", ["seconds_until"]),
        ("Who calls seconds_until() and TokenBucket?", ["seconds_until", "TokenBucket"]),
        ("What does `frobnicate` do?", ["frobnicate"]),
        ("Does start() block?", ["start"]),
        ("What is the `--wait-time` of limits.TokenBucket?", ["wait-time", "TokenBucket"]),
        ("Where are the HTTPHeaders read?", ["HTTPHeaders"]),
        ("Why a `ValueError`, or isinstance()?", []),
        ("How are URLs, v2 files and pre-commit hooks handled on a Mac?", []),
        ("What is `id`?", []),
        ("", []),
    ],
)
def test_names_are_what_only_code_is_spelt_like(question: str, names: list[str]) -> None:
    assert find_names(question) == names


@pytest.mark.parametrize(
    "question",
    [
        "What does `TokenRouter` do with tokens each second?",
        "Where is `token_router` defined?",
        "Who calls route_tokens()?",
    ],
)
def test_a_question_about_a_name_that_is_nowhere_is_not_answered(
    index: CodeIndex, question: str
) -> None:
    missing = judge(index, question)
    assert missing is not None
    assert missing[0] == find_names(question)[0]


@pytest.mark.parametrize(
    "question",
    [
        "What does `TokenBucket` hold?",
        "What does `token_bucket` hold?",  # another spelling
        "What do TokenBuckets hold?",
        "What is the amount in SecondsUntil?",
        "Which PATIENCE has the EarlyStopping rule?",  # part of a name, in a path
        "What is the `wait-time` that the server tells?",
        "How does `TokenRouter` use a TokenBucket of tokens?",  # one of them is there
    ],
)
def test_a_name_that_is_there_in_any_spelling_is_answered_about(
    index: CodeIndex, question: str
) -> None:
    assert judge(index, question) is None


def test_an_error_message_may_name_what_is_the_askers_own(index: CodeIndex) -> None:
    error = "LimitsError: my_own_amount of tokens takes seconds until the bucket has an amount"
    assert judge(index, error) is None
    assert judge(index, "What does `my_own_amount` of tokens take in the bucket?") is not None


def test_weak_evidence_lacks_the_rarest_words_first(
    make_chunk: MakeChunk, index: CodeIndex
) -> None:
    hits = [Hit(1.0, make_chunk(), None, cosine=0.1)]
    missing = missing_words(index, "How do tokens become chocolate?", hits)
    assert missing is not None
    assert missing[0] in ("chocolate", "become") and "tokens" not in missing


def test_a_near_meaning_makes_up_for_other_words(make_chunk: MakeChunk, index: CodeIndex) -> None:
    question = "How do chocolate cakes rise?"
    for cosine, weak in ((MIN_STRENGTH - 0.01, True), (MIN_STRENGTH + 0.01, False)):
        hits = [Hit(1.0, make_chunk(text="pass\n"), None, cosine=cosine)]
        assert (missing_words(index, question, hits) is not None) is weak
    held = [Hit(1.0, make_chunk(text=f"# {question}\n"), None, cosine=MIN_STRENGTH / 2)]
    assert COVERAGE_WEIGHT > MIN_STRENGTH / 2
    assert missing_words(index, question, held) is None


def test_words_alone_decide_while_there_are_no_vectors(
    make_chunk: MakeChunk, index: CodeIndex
) -> None:
    question = "How do chocolate cakes rise?"
    half = [Hit(1.0, make_chunk(text="chocolate cakes\n"), None)]
    none = [Hit(1.0, make_chunk(text="tokens\n"), None)]
    assert missing_words(index, question, half) is None
    assert missing_words(index, question, none) == ["chocolate", "cakes", "rise"]
    assert 0 < MIN_COVERAGE < 2 / 3


def test_no_evidence_is_too_weak(index: CodeIndex) -> None:
    assert missing_words(index, "Which tokens?", []) == ["tokens"]


def test_who_asks_at_length_is_not_held_to_every_word() -> None:
    words = {f"word{number}": 1.0 for number in range(10)}
    held = frozenset(list(words)[: int(ENOUGH_WORDS)])
    assert coverage(words, held) == 1.0
    assert coverage(words, frozenset({"word0"})) == pytest.approx(1 / ENOUGH_WORDS)
    assert coverage({"a": 0.5, "b": 1.0}, frozenset({"b", "c"})) == pytest.approx(2 / 3)
    assert coverage({}, held) == 0.0


def test_judging_costs_little_beside_a_search(index: CodeIndex, make_chunk: MakeChunk) -> None:
    """Eight full passages are read in well under a frame; generous, for busy machines."""
    import time

    text = "".join(f"def method_{n}(self, some_argument): return other_{n}\n" for n in range(30))
    hits = [Hit(1.0, make_chunk(text=text), None, cosine=0.9)] * 8
    missing_words(index, "Where is `method_3` defined?", hits)
    start = time.perf_counter()
    for _ in range(10):
        missing_words(index, "Where is `method_3` defined?", hits)
    assert (time.perf_counter() - start) / 10 < 0.05


def test_an_answer_says_which_name_is_nowhere(index: CodeIndex, tmp_path: Path) -> None:
    from app.answer import answer
    from app.events import Answer

    *_, last = answer(index, "What does `TokenRouter` return?")
    assert isinstance(last, Answer) and last.abstained
    assert "Nothing that fits says anything of `TokenRouter`" in last.text
