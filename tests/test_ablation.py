"""Every row of the ablation can be measured, and the changes it makes are undone."""

import json
from pathlib import Path

import pytest

from benchmarks.ablation import SHIPPED, VARIANTS, print_table
from benchmarks.development import SETS, DevelopmentSet
from retrieval import lexical, rank, search, views
from tests.git_repositories import head_of


def test_each_row_has_a_figure_for_each_set_and_leaves_nothing_changed(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "questions.jsonl"
    asked = {"query": "Which class limits the rate of calls?", "files": ["limits/bucket.py"]}
    file.write_text(json.dumps(asked) + "\n", "utf-8")
    commit = head_of(tiny_repo)
    tiny = DevelopmentSet("tiny", "limits", commit, file, ("file_ndcg@10",))
    before = [*vars(search).items(), *vars(rank).items(), *vars(views).items()]
    weights = dict(lexical.FIELD_WEIGHTS)
    print_table(VARIANTS, [tiny], {"limits": str(tiny_repo)}, tmp_path / "indexes")
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert [row[0].strip() for row in rows[2:]] == [variant.label for variant in VARIANTS]
    assert rows[2][0].strip() == SHIPPED
    assert all(0 <= float(row[1].strip(" *\\")) <= 1 for row in rows[2:])
    assert [*vars(search).items(), *vars(rank).items(), *vars(views).items()] == before
    assert weights == lexical.FIELD_WEIGHTS


@pytest.mark.parametrize("each", SETS, ids=lambda each: each.name)
def test_the_question_sets_are_there(each: DevelopmentSet) -> None:
    assert each.file.exists()
    assert len(each.commit) == 40
