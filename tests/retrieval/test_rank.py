"""Fusion and priors, against numbers worked out by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.rank import (
    CHANGELOG_PRIOR,
    EXAMPLE_PRIOR,
    TEST_PRIOR,
    defines,
    fuse_scores,
    path_prior,
    rarity,
)


def test_scores_are_divided_by_the_best_and_added_by_weight() -> None:
    fused = fuse_scores({1: 8.0, 2: 4.0}, {2: 0.6, 3: 0.3}, dense_weight=0.25)
    assert fused == pytest.approx({1: 0.75, 2: 0.75 * 0.5 + 0.25, 3: 0.25 * 0.5})


def test_one_retriever_alone_decides_where_the_other_found_nothing() -> None:
    assert fuse_scores({}, {}, dense_weight=0.5) == {}
    assert fuse_scores({1: 3.0, 2: 1.5}, {}, dense_weight=0.0) == {1: 1.0, 2: 0.5}
    assert fuse_scores({}, {1: 0.8, 2: 0.2}, dense_weight=1.0) == pytest.approx({1: 1.0, 2: 0.25})


def test_a_cosine_below_zero_counts_as_zero() -> None:
    assert fuse_scores({1: 1.0}, {1: -0.5, 2: -0.1}, dense_weight=0.5) == {1: 0.5, 2: 0.0}
    assert fuse_scores({}, {1: -1.0, 2: 0.5}, dense_weight=0.5) == {1: 0.0, 2: 0.5}


def test_a_score_of_zero_divides_nothing() -> None:
    assert fuse_scores({1: 0.0}, {1: 0.0}, dense_weight=0.5) == {1: 0.0}


@pytest.mark.parametrize("weight", [-0.01, 1.01, math.inf, math.nan])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=r"dense_weight must lie in \[0, 1\]"):
        fuse_scores({}, {}, dense_weight=weight)


@settings(derandomize=True, deadline=None, database=None)
@given(
    st.dictionaries(st.integers(0, 20), st.floats(0, 1e6)),
    st.dictionaries(st.integers(0, 20), st.floats(-1, 1)),
    st.floats(0, 1),
)
def test_fused_scores_stay_between_zero_and_one(
    lexical: dict[int, float], cosine: dict[int, float], weight: float
) -> None:
    fused = fuse_scores(lexical, cosine, dense_weight=weight)
    assert fused.keys() == lexical.keys() | cosine.keys()
    assert all(0 <= score <= 1 + 1e-9 for score in fused.values())


PRIORS = {
    "composer/trainer.py": 1.0,
    "src/latest.py": 1.0,
    "src/contest/main.go": 1.0,
    "src/inspector.ts": 1.0,
    "README.md": 1.0,
    "docs/history.rst": CHANGELOG_PRIOR,
    "app/history.py": 1.0,
    "news/views.py": 1.0,
    "src/changes.rs": 1.0,
    "tests/test_trainer.py": TEST_PRIOR,
    "test/a.c": TEST_PRIOR,
    "pkg/Tests/A.cs": TEST_PRIOR,
    "torch/testing/compare.py": TEST_PRIOR,
    "src/__tests__/a.js": TEST_PRIOR,
    "spec/models_spec.rb": TEST_PRIOR,
    "test_trainer.py": TEST_PRIOR,
    "pkg/server_test.go": TEST_PRIOR,
    "src/app.test.ts": TEST_PRIOR,
    "src/app.spec.ts": TEST_PRIOR,
    "examples/mnist.py": EXAMPLE_PRIOR,
    "docs/tutorials/first.py": EXAMPLE_PRIOR,
    "demo/run.sh": EXAMPLE_PRIOR,
    "examples/tests/run.py": TEST_PRIOR,
    "CHANGELOG.md": CHANGELOG_PRIOR,
    "docs/changelog.rst": CHANGELOG_PRIOR,
    "Change-Log.txt": CHANGELOG_PRIOR,
    "NEWS": CHANGELOG_PRIOR,
    "pkg/CHANGES": CHANGELOG_PRIOR,
    "RELEASES.md": CHANGELOG_PRIOR,
    "docs/release-notes/v2.md": CHANGELOG_PRIOR,
    "docs/whats-new/3.0.rst": CHANGELOG_PRIOR,
}


@pytest.mark.parametrize(("path", "prior"), PRIORS.items())
def test_a_path_says_how_likely_its_file_answers(path: str, prior: float) -> None:
    assert path_prior(path) == prior


def test_documentation_counts_as_the_question_wants() -> None:
    assert path_prior("docs/guide.md", prose=0.7) == path_prior("README", prose=0.7) == 0.7
    assert path_prior("docs/tutorials/first.md", prose=1.2) == 1.2
    assert path_prior("CHANGELOG.md", prose=1.2) == CHANGELOG_PRIOR
    assert path_prior("tests/README.md", prose=1.2) == TEST_PRIOR
    assert path_prior("app/guide.py", prose=0.7) == 1.0


@pytest.mark.parametrize(
    ("symbol", "defined"),
    [
        ("Trainer", True),
        ("TRAINER", True),
        ("engine.Trainer", True),
        ("ns::Trainer", True),
        ("Guide › Trainer", True),
        ("Event, Trainer", True),
        ("Trainer.close", False),  # a part of it, not its definition
        ("TrainerState", False),
        ("", False),
    ],
)
def test_a_chunk_defines_the_last_part_of_its_symbols(symbol: str, defined: bool) -> None:
    assert defines(symbol, frozenset({"trainer"})) is defined


def test_rarity_is_the_inverse_document_frequency_over_its_largest() -> None:
    assert rarity(0, 100) == 1.0
    assert rarity(10, 100) == pytest.approx(math.log(1 + 90.5 / 10.5) / math.log(202))
    assert rarity(100, 100) == pytest.approx(math.log(1 + 0.5 / 100.5) / math.log(202))
    assert [rarity(n, 50) for n in range(51)] == sorted(rarity(n, 50) for n in range(51))[::-1]
    assert rarity(0, 0) == 1.0
