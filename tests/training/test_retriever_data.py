"""Questions are split by the file that answers them, and examples come with fair negatives."""

from collections.abc import Sequence

import pytest

from data_tools.errors import SourceError
from data_tools.pairs import Pair
from retrieval.search import Hit
from tests.fakes import MakeChunk
from training.retriever_data import DataSettings, SearchRepository, make_data, side_of

SETTINGS = DataSettings(headerless=0.0)


def make_pair(path: str, query: str = "", kind: str = "docstring", line: int = 1) -> Pair:
    return Pair(query or f"what {path} does", kind, "repo", path, line, line + 1, "", ())


def paths_on(side: str, count: int) -> list[str]:
    names = (f"file{number}.py" for number in range(1_000))
    return [name for name in names if side_of("repo", name, seed=0) == side][:count]


TRAIN, VALIDATION, HELD_OUT = (paths_on(s, 12) for s in ("train", "validation", "held_out"))
PAIRS = [make_pair(path) for path in (*TRAIN, *VALIDATION, *HELD_OUT)]


def make_search(make_chunk: MakeChunk, cosines: dict[str, float]) -> SearchRepository:
    """A search that finds one chunk a file, with the cosines given and 0.5 for the others."""

    def search(repo: str, query: str, k: int) -> Sequence[Hit]:
        hits = [
            Hit(cosine, make_chunk(repo=repo, path=path, symbol="f"), None, cosine)
            for path in (*TRAIN, *VALIDATION, *HELD_OUT)
            for cosine in [cosines.get(path, 0.5)]
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    return search


def test_each_file_is_on_one_side_and_the_shares_are_about_right() -> None:
    sides = [side_of("repo", f"src/{number}.py", seed=3) for number in range(2_000)]
    assert 350 < sides.count("held_out") < 450
    assert 150 < sides.count("validation") < 250
    assert sides == [side_of("repo", f"src/{number}.py", seed=3) for number in range(2_000)]
    assert sides != [side_of("repo", f"src/{number}.py", seed=4) for number in range(2_000)]


def test_questions_go_where_the_file_that_answers_them_is(make_chunk: MakeChunk) -> None:
    data = make_data(PAIRS, make_search(make_chunk, {}), SETTINGS, lambda _: None)
    assert {each.query for each in data.examples} == {f"what {path} does" for path in TRAIN}
    assert {q.files for q in data.held_out["repo"]} == {(path,) for path in HELD_OUT}
    assert {q.files for q in data.validation["repo"]} == {(path,) for path in VALIDATION}
    assert data.mined == {"docstring": 36} and not data.filtered


def test_negatives_are_chunks_of_other_training_files_alone(make_chunk: MakeChunk) -> None:
    cosines = {path: 0.6 for path in (*VALIDATION, *HELD_OUT)}
    data = make_data(PAIRS, make_search(make_chunk, cosines), SETTINGS, lambda _: None)
    for example in data.examples:
        path = example.positive.partition(" › ")[0]
        (negative,) = (text.partition(" › ")[0] for text in example.negatives)
        assert path in TRAIN and negative in TRAIN and path != negative


def test_a_chunk_much_more_similar_than_the_answer_is_no_negative(make_chunk: MakeChunk) -> None:
    cosines = {TRAIN[0]: 0.9, TRAIN[1]: 0.55}
    hardest = DataSettings(headerless=0.0, negative_pool=1)
    data = make_data(PAIRS, make_search(make_chunk, cosines), hardest, lambda _: None)
    negatives = {text.partition(" › ")[0] for each in data.examples for text in each.negatives}
    assert TRAIN[1] in negatives and TRAIN[0] not in negatives


def test_a_question_whose_answer_is_not_found_at_all_is_left_out_and_counted(
    make_chunk: MakeChunk,
) -> None:
    cosines = {TRAIN[0]: -1.0, TRAIN[1]: -1.0}
    settings = DataSettings(headerless=0.0, max_rank=34)
    data = make_data(PAIRS, make_search(make_chunk, cosines), settings, lambda _: None)
    assert len(data.examples) == 10
    assert data.filtered == {"docstring": 2}


def test_a_question_that_files_of_two_sides_answer_is_in_neither(make_chunk: MakeChunk) -> None:
    shared = [make_pair(path, "change both", "commit") for path in (TRAIN[0], HELD_OUT[0])]
    data = make_data([*PAIRS, *shared], make_search(make_chunk, {}), SETTINGS, lambda _: None)
    questions = [*data.held_out["repo"], *data.validation["repo"]]
    assert "change both" not in {question.query for question in questions}
    assert "change both" not in {example.query for example in data.examples}


def test_a_definition_is_asked_for_once_however_its_docstring_is_put(
    make_chunk: MakeChunk,
) -> None:
    again = [make_pair(path, f"How do I do what {path} does?", "rewrite") for path in HELD_OUT]
    data = make_data([*PAIRS, *again], make_search(make_chunk, {}), SETTINGS, lambda _: None)
    questions = data.held_out["repo"]
    assert sorted(question.files for question in questions) == sorted((p,) for p in HELD_OUT)
    assert {question.kind for question in questions} == {"docstring", "rewrite"}


def test_some_examples_lack_the_header_and_their_negatives_with_them(
    make_chunk: MakeChunk,
) -> None:
    settings = DataSettings(headerless=0.5)
    data = make_data(PAIRS, make_search(make_chunk, {}), settings, lambda _: None)
    headers = ["›" in each.positive for each in data.examples]
    assert True in headers and False in headers
    for example in data.examples:
        assert all(("›" in text) == ("›" in example.positive) for text in example.negatives)


def test_too_few_questions_are_refused(make_chunk: MakeChunk) -> None:
    with pytest.raises(SourceError, match="12 questions to train on and 0 to measure with"):
        make_data(
            [make_pair(path) for path in TRAIN],
            make_search(make_chunk, {}),
            SETTINGS,
            lambda _: None,
        )
