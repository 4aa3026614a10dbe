"""Pairs are proved by their evidence, dealt as their files are, and the same in every run."""

import re
from collections import Counter
from pathlib import Path

import pytest

from app.cli_tuning import QA_KINDS
from data_tools.git_commands import open_git
from data_tools.qa_codebase import MESSAGE_PATH, Evidence, QAPair, code_spans, read_pair
from data_tools.qa_pairs import (
    ABSENT,
    KINDS,
    MiningSettings,
    choose,
    count_pairs,
    deal,
    mine_qa_pairs,
    without_ambiguous,
)
from data_tools.sources import SourceFile, open_source
from data_tools.split import Assignment
from data_tools.text import split_lines
from tests.data_tools.qa_mining import REFUSAL, answers, mine, read, told, write
from tests.data_tools.samples import SAMPLES
from tests.git_repositories import MakeRepo, commit_files

ROOT = Path(__file__).parents[2]
SUFFIXES = {"python": "py", "typescript": "ts", "javascript": "js", "cpp": "cpp", "java": "java",
            "go": "go", "rust": "rs", "ruby": "rb", "kotlin": "kt", "scala": "scala"}  # fmt: skip


def pair(kind: str, question: str, answer: str, *paths: str) -> QAPair:
    """A pair with one line of evidence in each file."""
    return QAPair(kind, question, answer, tuple(Evidence("r", "c", path, 1, 1) for path in paths))


def check(pairs: tuple[QAPair, ...], lines: dict[tuple[str, str], list[str]]) -> None:
    """Every name in backticks stands in the evidence, or is the path of a file of it."""
    for each in pairs:
        evidence = ""
        for part in each.evidence:
            found = lines[part.path if part.path != MESSAGE_PATH else part.commit, part.path]
            assert 1 <= part.start_line <= part.end_line <= len(found), each
            evidence += "".join(found[part.start_line - 1 : part.end_line])
        assert each.evidence or each.kind == ABSENT
        paths = {part.path for part in each.evidence}
        for span in code_spans(each.answer) if each.evidence else ():
            names = re.findall(r"(?<!\w)[A-Za-z_]\w*", span)
            missing = [name for name in names if not re.search(rf"\b{name}\b", evidence)]
            assert span in paths or not missing, (each, missing)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: there are no commits")
def test_every_name_that_an_answer_marks_as_code_stands_in_its_evidence() -> None:
    snapshot = open_source(str(ROOT))
    mined = mine_qa_pairs([snapshot], MiningSettings(REFUSAL), lambda _: None)
    lines = {
        (file.path, file.path): split_lines(file.text)
        for file in snapshot.files()
        if isinstance(file, SourceFile)
    }
    with open_git(ROOT / ".git") as command:
        for each in (e for pair in mined.pairs for e in pair.evidence if e.path == MESSAGE_PATH):
            message = str(command.log("-1", "--format=%B", each.commit))
            lines[each.commit, MESSAGE_PATH] = split_lines(message)
    check(mined.pairs, lines)
    counted = Counter(pair.kind for pair in mined.pairs)
    assert {kind for kind in KINDS if counted[kind] >= 5} >= {*KINDS} - {"why"}
    assert len({pair.question.casefold() for pair in mined.pairs}) == len(mined.pairs)


def test_files_of_every_language_give_pairs_with_evidence(tmp_path: Path) -> None:
    files = {f"{s.language}/sample.{SUFFIXES.get(s.language, s.language)}": s.text for s in SAMPLES}
    mined = mine(write(tmp_path / "repo", files))
    codebase = read(tmp_path / "repo")
    check(mined.pairs, {(path, path): lines for path, lines in codebase.lines.items()})
    languages = {each.path.partition("/")[0] for pair in mined.pairs for each in pair.evidence}
    assert languages >= {"python", "typescript", "java", "go", "rust"}


def test_the_same_repository_gives_the_same_pairs_and_another_seed_another_split(
    tiny_repo: Path,
) -> None:
    first, again = mine(tiny_repo), mine(tiny_repo)
    assert first.pairs == again.pairs
    other = mine(tiny_repo, seed=5)
    questions = {pair.question for pair in first.pairs if pair.kind != ABSENT}
    assert questions == {pair.question for pair in other.pairs if pair.kind != ABSENT}
    assert [pair.split for pair in first.pairs] != [pair.split for pair in other.pairs]


def test_a_pair_is_in_the_split_of_its_file(tiny_repo: Path) -> None:
    mined = mine(tiny_repo, shares={"train": 0.4, "validation": 0.3, "test": 0.3})
    assert {pair.split for pair in mined.pairs} == {"train", "validation", "test"}
    for each in mined.pairs:
        files = {(e.repo, e.path) for e in each.evidence}
        assert {mined.assignments[file].split for file in files} <= {each.split}


def test_a_pair_whose_files_are_in_several_splits_has_none() -> None:
    found = [pair("call", "a?", "b", "one"), pair("call", "c?", "d", "one", "two")]
    assigned = {("r", "one"): Assignment("train", None), ("r", "two"): Assignment("test", None)}
    assert [each.split for each in deal(found, assigned)] == ["train", ""]


def test_a_question_with_two_answers_is_left_out_and_a_repetition_kept_once() -> None:
    found = [
        pair("lookup", "Which one saves?", "`a`", "x"),
        pair("lookup", "which one saves?", "`b`", "y"),
        pair("raise", "When?", "Now.", "x"),
        pair("raise", "When?", "Now.", "y"),
    ]
    assert without_ambiguous(found) == [found[2]]


def test_a_limit_is_dealt_evenly_over_kinds_and_files() -> None:
    many = [pair("call", f"{n}?", "b", f"{n % 3}") for n in range(60)]
    few = [pair("raise", f"{n}!", "b", "x") for n in range(4)]
    chosen = choose([*many, *few], 10, seed=1)
    assert Counter(each.kind for each in chosen) == {"call": 6, "raise": 4}
    assert Counter(e.path for each in chosen[:6] for e in each.evidence) == dict.fromkeys("012", 2)
    assert chosen == sorted(chosen, key=[*many, *few].index)


def test_absent_things_are_refused_and_occur_nowhere(tiny_repo: Path) -> None:
    mined = mine(tiny_repo, "docstring", ABSENT, limit=12)
    absent = [each for each in mined.pairs if each.kind == ABSENT]
    assert absent
    text = "".join("".join(lines) for lines in read(tiny_repo).lines.values())
    for each in absent:
        (name,) = code_spans(each.answer)
        assert each.answer == f"{REFUSAL} They do not mention `{name}`."
        assert name in each.question and name not in text and not each.evidence


def test_a_question_that_two_repositories_answer_is_left_out(make_repo: MakeRepo) -> None:
    text = 'def save():\n    """Write all of the settings to disk."""\n'
    repos = [make_repo({"a.py": text}, "one"), make_repo({"b.py": text}, "two")]
    snapshots = [open_source(str(repo)) for repo in repos]
    settings = MiningSettings(REFUSAL, kinds=("definition", "docstring"))
    mined = mine_qa_pairs(snapshots, settings, lambda _: None)
    assert mined.dropped["a question asked more than once"] == 3
    assert answers(mined.pairs) == {
        "What does `save` do?": "It writes all of the settings to disk."
    }


def test_a_pair_survives_being_written_and_read(tiny_repo: Path) -> None:
    found = mine(tiny_repo).pairs
    assert [read_pair(each.record()) for each in found] == list(found)
    assert len({each.id for each in found}) == len(found)


def test_unknown_kinds_are_refused_and_the_command_offers_them_all() -> None:
    with pytest.raises(ValueError, match="unknown kind 'poem'; choose from docstring"):
        MiningSettings(REFUSAL, kinds=("poem",))
    assert QA_KINDS == KINDS


def test_the_reason_for_a_change_is_told_by_the_commit_s_message(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "def take(amount):\n    return amount\n"})
    commit_files(
        repo,
        {"a.py": "def take(amount):\n    return max(amount, 0)\n"},
        "Reject negative amounts in take (#12)\n\nThey made the bucket overflow, because its level "
        "was\nlowered by less than nothing.\n\nSigned-off-by: Ada",
    )
    (found,) = mine(repo, "why").pairs
    assert found.question == "Why was `take` changed recently?"
    assert found.answer == (
        "To reject negative amounts in take. They made the bucket overflow, because its level was "
        "lowered by less than nothing."
    )
    message, lines = found.evidence
    assert (message.path, message.start_line, message.end_line) == (MESSAGE_PATH, 1, 4)
    assert (lines.path, lines.start_line) == ("a.py", 1)


def test_counts_are_by_kind_and_split(tiny_repo: Path) -> None:
    mined = mine(tiny_repo)
    counted = count_pairs(mined.pairs)
    assert sum(sum(splits.values()) for splits in counted.values()) == len(mined.pairs)
    assert list(counted) == [kind for kind in KINDS if kind in counted]
    assert told(mined.pairs[0], read(tiny_repo))
