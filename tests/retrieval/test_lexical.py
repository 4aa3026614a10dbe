"""BM25 with code-aware tokens: what a word becomes, and what it then finds."""

import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.errors import IndexDamagedError
from retrieval.lexical import (
    MAX_QUERY_TOKENS,
    MAX_TOKEN_CHARS,
    RELATED_WEIGHTS,
    LexicalIndex,
    query_tokens,
    split_identifier,
    stem,
    tokenize,
)
from tests.fakes import MakeChunk


@pytest.mark.parametrize(
    ("word", "tokens"),
    [
        ("trainer", ("trainer",)),
        ("EarlyStopper", ("earlystopper", "early", "stopper")),
        ("early_stopper", ("early_stopper", "earlystopper", "early", "stopper")),
        ("HTTPServer", ("httpserver", "http", "server")),
        ("parseURLs", ("parseurls", "parse", "urls")),
        ("XMLHttpRequest", ("xmlhttprequest", "xml", "http", "request")),
        ("sha256", ("sha256", "sha", "256")),
        ("MAX_TOKENS_2", ("max_tokens_2", "maxtokens2", "max", "tokens", "2")),
        ("__init__", ("init",)),
        ("_private", ("private",)),
        ("__", ("__",)),
        ("naïveBayes", ("naïvebayes", "naïve", "bayes")),
        ("ÉcoleNormale", ("écolenormale", "école", "normale")),
        ("größe", ("größe",)),
        ("日本語", ("日本語",)),
    ],
)
def test_a_word_is_split_into_itself_and_its_parts(word: str, tokens: tuple[str, ...]) -> None:
    assert split_identifier(word) == tokens


def test_words_end_at_whatever_is_no_part_of_a_name() -> None:
    assert tokenize("a.b(c)->d[0] 'e' “f” g-h") == list("abcd0efgh")


def test_runs_too_long_for_a_word_are_left_out() -> None:
    longest = "x" * MAX_TOKEN_CHARS
    assert tokenize(f"before {longest}x after {longest}") == ["before", "after", longest]


@settings(derandomize=True, deadline=None, database=None)
@given(st.text(max_size=60))
def test_any_text_becomes_tokens_without_space_or_capitals(text: str) -> None:
    for token in tokenize(text):
        assert token and token == token.lower() and not any(c.isspace() for c in token)


def test_stop_words_are_dropped_only_where_others_remain() -> None:
    assert query_tokens("How do I use the trainer?") == ["trainer"]
    assert query_tokens("who are you") == ["who", "are", "you"]
    assert query_tokens("") == query_tokens("?! …") == []


def test_a_question_s_tokens_are_stemmed_and_distinct() -> None:
    assert query_tokens("stopping stops stopped Stopping") == ["stop"]


def test_a_long_question_is_cut() -> None:
    words = " ".join(f"w{number}" for number in range(1_000))
    assert len(query_tokens(words)) == MAX_QUERY_TOKENS


@pytest.fixture
def index(tmp_path: Path, make_chunk: MakeChunk) -> LexicalIndex:
    chunks = [
        make_chunk(
            path="src/stop.py", symbol="EarlyStopper", text="class EarlyStopper:\n    pass\n"
        ),
        make_chunk(path="src/server.go", language="go", text="func parseHTTPHeader() {}\n"),
        make_chunk(path="docs/guide.md", language="markdown", text="Checkpoints are saved here.\n"),
        make_chunk(repo="other", path="src/save.py", text="def save_checkpoint(): ...\n"),
        make_chunk(repo="other", path="café.py", text="Größe = 1\n名前 = 2\n"),
    ]
    return LexicalIndex.build(tmp_path / "lexical", chunks)


def found(index: LexicalIndex, question: str, **filters: list[str]) -> list[int]:
    return [number for number, _ in index.search(query_tokens(question), 10, **filters)]


@pytest.mark.parametrize(
    ("question", "number"),
    [
        ("EarlyStopper", 0),
        ("earlystopper", 0),
        ("early_stopper", 0),
        ("what stops early?", 0),
        ("stopper", 0),
        ("parseHTTPHeader", 1),
        ("http", 1),
        ("headers parsing", 1),
        ("server.go", 1),
        ("saving checkpoints", 2),
        ("the guide", 2),
        ("save_checkpoint", 3),
        ("café", 4),
        ("größe", 4),
        ("名前", 4),
    ],
)
def test_a_name_is_found_whole_by_its_parts_and_in_other_forms(
    index: LexicalIndex, question: str, number: int
) -> None:
    assert number in found(index, question)
    if question not in ("saving checkpoints", "save_checkpoint"):  # in two chunks
        assert found(index, question)[0] == number


def test_words_that_are_nowhere_find_nothing(index: LexicalIndex) -> None:
    assert found(index, "quasar") == found(index, "") == []


def test_filters_keep_what_passes_all_of_them(index: LexicalIndex) -> None:
    assert set(found(index, "save checkpoint")) == {2, 3}
    assert found(index, "save checkpoint", repos=["other"]) == [3]
    assert found(index, "save checkpoint", languages=["markdown", "go"]) == [2]
    assert found(index, "save checkpoint", paths=["src/save.py", "src/stop.py"]) == [3]
    assert found(index, "save checkpoint", repos=["other"], languages=["markdown"]) == []
    assert found(index, "save checkpoint", repos=[]) == []


def test_a_filter_does_not_change_scores(index: LexicalIndex) -> None:
    tokens = query_tokens("save checkpoint")
    assert index.search(tokens, 10, repos=["other"])[0] in index.search(tokens, 10)


def test_the_chunk_that_says_more_of_the_question_in_fewer_words_comes_first(
    tmp_path: Path, make_chunk: MakeChunk
) -> None:
    texts = [
        "optimizer " + "filler words of another kind " * 40,
        "the optimizer takes a step",
        "scheduler and optimizer take a step each epoch",
        "nothing of it",
    ]
    index = LexicalIndex.build(tmp_path / "lexical", [make_chunk(text=text) for text in texts])
    assert found(index, "scheduler optimizer step") == [2, 1, 0]
    scores = [score for _, score in index.search(query_tokens("scheduler optimizer"), 10)]
    assert scores == sorted(scores, reverse=True) and scores[-1] > 0


def test_a_limit_of_any_size_is_safe(index: LexicalIndex) -> None:
    assert len(index.search(query_tokens("save checkpoint"), 1)) == 1
    assert len(index.search(query_tokens("save checkpoint"), 10**20)) == 2


def test_document_frequencies_count_chunks(index: LexicalIndex) -> None:
    assert index.document_frequencies(query_tokens("checkpoints quasar")) == [2, 0]


def test_an_index_opened_from_disk_ranks_as_the_one_that_was_built(
    tmp_path: Path, index: LexicalIndex
) -> None:
    opened = LexicalIndex.open(tmp_path / "lexical")
    tokens = query_tokens("save the checkpoint early")
    assert opened.search(tokens, 10) == index.search(tokens, 10) != []


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"{}", b'{"segments": 7}'])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta.json").write_bytes(content)
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        LexicalIndex.open(tmp_path)


@pytest.mark.parametrize("suffix", ["json", "term", "idx", "fast", "fieldnorm", "store"])
def test_an_index_with_half_a_file_is_refused(
    tmp_path: Path, index: LexicalIndex, suffix: str
) -> None:
    for file in (tmp_path / "lexical").glob(f"[!.]*.{suffix}"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        LexicalIndex.open(tmp_path / "lexical")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexDamagedError):
        LexicalIndex.open(tmp_path / "none")


def test_an_index_that_cannot_be_written_is_an_os_error(
    tmp_path: Path, make_chunk: MakeChunk
) -> None:
    (tmp_path / "lexical" / "meta.json").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        LexicalIndex.build(tmp_path / "lexical", [make_chunk()])
    assert caught.value.errno == errno.EIO


def test_given_chunks_are_scored_as_a_search_scores_them(
    tmp_path: Path, make_chunk: MakeChunk
) -> None:
    texts = ["tokens refill", "tokens", "bucket", "refill bucket tokens", "nothing"]
    chunks = [make_chunk(text, path="a.py") for text in texts]
    index = LexicalIndex.build(tmp_path / "lexical", chunks)
    found = dict(index.search(["token", "refil"], 10, related=["bucket"]))
    assert index.scores(["token", "refil"], [3, 1, 4], related=["bucket"]) == pytest.approx(
        {number: found[number] for number in (1, 3)}
    )
    assert index.scores(["token"], []) == {}
    assert index.scores([], [1, 2]) == {}


def test_a_related_word_finds_but_counts_less_in_a_body(
    tmp_path: Path, make_chunk: MakeChunk
) -> None:
    chunks = [make_chunk("expr"), make_chunk("expression"), make_chunk("other")]
    index = LexicalIndex.build(tmp_path / "lexical", chunks)
    found = index.search(["express"], 10, related=["expr"])
    assert [number for number, _ in found] == [1, 0]
    assert found[1][1] == pytest.approx(found[0][1] * RELATED_WEIGHTS["body"])


def test_a_stem_is_what_the_index_holds() -> None:
    assert [stem(word) for word in ("initialization", "parsers", "cpp", "")] == [
        "initi",
        "parser",
        "cpp",
        "",
    ]
