"""Pairs of a question and the lines that answer it."""

from collections.abc import Collection
from pathlib import Path

import pytest

from data_tools.pairs import KINDS, Pair, mask_lines, mine_pairs
from data_tools.sources import open_source
from tests.git_repositories import MakeRepo, commit_files, write_files


def mine(folder: Path, kinds: Collection[str] = KINDS) -> list[Pair]:
    return list(mine_pairs(open_source(str(folder)), kinds=kinds))


def test_a_small_repository_gives_pairs_of_every_kind(tiny_repo: Path) -> None:
    bucket = (tiny_repo / "limits/bucket.py").read_text("utf-8")
    changed = {
        "limits/bucket.py": bucket.replace("max(0.0,", "max(0.5,"),
        "tests/test_bucket.py": "def test_seconds_until_there_are_enough():\n"
        "    assert TokenBucket(1, 1).seconds_until()\n",
    }
    commit_files(tiny_repo, changed, "Wait half a second at the least")
    found = {pair.kind: pair for pair in reversed(mine(tiny_repo))}
    assert list(found) == list(reversed(KINDS))
    assert {kind: (pair.query, pair.path, pair.symbol) for kind, pair in found.items()} == {
        "docstring": (
            "Holds up to capacity tokens and gains rate of them a second",
            "limits/bucket.py",
            "TokenBucket",
        ),
        "rewrite": (found["rewrite"].query, "limits/bucket.py", "TokenBucket"),
        "heading": (
            "Each client has a token bucket",
            "README.md",
            "Limits › How it works",
        ),
        "commit": (
            "Wait half a second at the least",
            "limits/bucket.py",
            "TokenBucket.seconds_until",
        ),
        "test": (
            "seconds until there are enough",
            "limits/bucket.py",
            "TokenBucket.seconds_until",
        ),
    }
    assert found["rewrite"].query.endswith("up to capacity tokens and gains rate of them a second?")
    assert found["test"].origin == ("tests/test_bucket.py", 1, 1)


def test_masked_lines_hold_the_query_and_the_gold_is_the_definition(tiny_repo: Path) -> None:
    pairs = mine(tiny_repo, ["docstring"])
    assert {pair.path.rpartition(".")[2] for pair in pairs} == {"py", "ts"}
    for pair in pairs:
        text = (tiny_repo / pair.path).read_text("utf-8")
        masked = mask_lines(text, pair.masked_lines)
        gold = masked.split("\n")[pair.start_line - 1 : pair.end_line]
        assert pair.symbol.rpartition(".")[2] in "\n".join(gold)
        first_words = pair.query.split()[0] + " " + pair.query.split()[1]
        assert first_words in text and first_words not in masked


def test_the_same_snapshot_gives_the_same_pairs(tiny_repo: Path) -> None:
    assert mine(tiny_repo) == mine(tiny_repo)


def test_only_the_kinds_asked_for_are_mined(tiny_repo: Path) -> None:
    assert {pair.kind for pair in mine(tiny_repo, ["rewrite"])} == {"rewrite"}
    with pytest.raises(ValueError, match="unknown kind 'tests'; choose from docstring"):
        mine(tiny_repo, ["tests"])


def test_a_query_that_two_places_answer_is_left_out(make_repo: MakeRepo) -> None:
    def documented(name: str, text: str) -> str:
        return f'def {name}():\n    """{text}"""\n    return 1\n\n\n'

    code = (
        documented("first", "Open the box with a key.")
        + documented("second", "Open the box with a Key.")
        + documented("third", "Open the lid with a key.")
    )
    folder = make_repo({"box.py": code})
    assert [pair.query for pair in mine(folder, ["docstring"])] == ["Open the lid with a key"]


def test_tests_are_no_gold(make_repo: MakeRepo) -> None:
    code = 'def lid():\n    """Open the box with a key."""\n    return 1\n'
    rust = "mod tests {\n    /// Open the lid with a key.\n    fn lid() {}\n}\n"
    page = "# How to open a lid\n\n" + "The box has a lid, and the lid has a lock. " * 4
    files = {"tests/lid.py": code, "src/test_lid.py": code, "box.rs": rust, "tests/README.md": page}
    assert mine(make_repo(files)) == []


def test_a_commit_that_changed_many_definitions_is_left_out(make_repo: MakeRepo) -> None:
    folder = make_repo({"box.py": "".join(f"def lid{n}():\n    return 1\n" for n in range(5))})
    three = "".join(f"def lid{n}():\n    return {1 + (n < 3)}\n" for n in range(5))
    commit_files(folder, {"box.py": three}, "Open three of the lids twice")
    commit_files(folder, {"box.py": three.replace("return", "yield")}, "Open every lid bit by bit")
    found = mine(folder, ["commit"])
    assert {pair.query for pair in found} == {"Open three of the lids twice"}
    assert [pair.symbol for pair in found] == ["lid0", "lid1", "lid2"]
    assert list(mine_pairs(open_source(str(folder)), kinds=["commit"], limit_commits=0)) == []


def test_the_name_that_go_begins_with_is_left_out_of_the_query(make_repo: MakeRepo) -> None:
    code = "package box\n\n// Open opens the box with a key.\nfunc Open() {}\n"
    (pair,) = mine(make_repo({"box.go": code}), ["docstring"])
    assert pair.query == "Opens the box with a key"


def test_a_plain_folder_has_no_commits(tmp_path: Path) -> None:
    write_files(tmp_path, {"box.py": 'def lid():\n    """Open the box with a key."""\n'})
    assert [pair.kind for pair in mine(tmp_path)] == ["docstring", "rewrite"]


@pytest.mark.parametrize(
    ("text", "spans", "masked"),
    [
        ("a\nb\nc\n", [(2, 2)], "a\n\nc\n"),
        ("a\nb\nc", [(1, 2), (3, 3)], "\n\n"),
        ("a\n", [(0, 9)], "\n"),
        ("a\nb\n", [], "a\nb\n"),
    ],
)
def test_masked_lines_are_blank_and_the_others_keep_their_numbers(
    text: str, spans: list[tuple[int, int]], masked: str
) -> None:
    assert mask_lines(text, spans) == masked
