"""The benchmark of serving: what it measures, it measures of whole answers."""

import asyncio
from argparse import Namespace
from pathlib import Path

import pytest

from app.history import History
from app.models import open_models
from app.web import launch
from app.workspace import Workspace
from benchmarks.serving import (
    FIRST_TOKEN_S,
    Row,
    ask_together,
    compare_together,
    measure_added,
    print_table,
    serve_stub,
)
from benchmarks.serving_client import Asked, ask_api, ask_page
from benchmarks.serving_stub import FIRST_WORD, reply_tokens
from retrieval.index import CodeIndex
from tests.fakes import FakeEncoder

QUESTION = "How does the TokenBucket refill its tokens?"


def test_people_who_ask_at_once_get_whole_answers(tiny_repo: Path, tmp_path: Path) -> None:
    CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=FakeEncoder()).close()
    workspace = Workspace(tmp_path / "index", embedder=FakeEncoder())
    history = History(tmp_path / "conversations.sqlite", scope="test")
    options = Namespace(users=3, rounds=1, tokens=30, rate=100.0)
    with serve_stub(options.tokens, options.rate) as model:
        chat = launch(workspace, open_models([model]), history, port=0, block=False)
        try:
            direct = asyncio.run(ask_together(ask_api, model, [QUESTION], options))
            for ask in (ask_api, ask_page):
                asked = asyncio.run(ask_together(ask, chat.url, [QUESTION], options))
                assert [each.problem for each in asked] == [None] * 3
                assert all((each.first_text_s or 0) >= FIRST_TOKEN_S for each in asked)
                assert all(each.total_s > FIRST_TOKEN_S + 29 / 100 for each in asked)
            assert all((each.evidence_s or 9) < (each.first_text_s or 0) for each in asked)
            row = measure_added(chat.url, model, [QUESTION])
            assert (row.errors, len(row.seconds)) == (0, 1)
        finally:
            chat.close()
            history.close()
        refused = asyncio.run(ask_together(ask_api, chat.url, [QUESTION], options))
    assert compare_together("x", refused, direct, 0.0, 30).errors == 3


def test_time_is_added_to_that_of_the_model_as_busy() -> None:
    direct = [Asked(first_text_s=seconds) for seconds in (0.2, 0.3, 0.4)]
    asked = [
        Asked(first_text_s=0.5, total_s=1),
        Asked(first_text_s=0.1, asked_model=False),
        Asked(problem="it broke off"),
    ]
    row = compare_together("x", asked, direct, 0.3, 100)
    assert row.seconds == pytest.approx([0.2])
    assert (row.errors, row.reached) == (1, False)
    assert "3.00 ms of processor time a token" in row.note


def test_the_table_says_what_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Row("good", [0.1] * 20, 0.15), Row("bad", [0.1] * 10 + [0.2] * 10, 0.15)])
    _, _, good, bad = capsys.readouterr().out.splitlines()
    assert good == "| good | 100 | 100 | 150 | 0 |  |"
    assert bad == "| bad | 150 | 200 **missed** | 150 | 0 |  |"
    assert not Row("nothing measured", [], 1.0).reached


def test_the_stub_s_answer_begins_with_a_word_of_its_own_and_cites() -> None:
    tokens = reply_tokens(60)
    assert len(tokens) == 60
    assert tokens[0] == FIRST_WORD
    assert tokens.count(" [1].") == 2
