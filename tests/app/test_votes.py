"""Votes are summed up with an interval, and become pairs that preference training reads."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.answer import Answer
from app.cli import main
from app.conversation import Draft, Exchange, Vote
from app.history import History
from app.votes import count_votes, left_share, preference_pairs, wilson_interval
from retrieval.fence import REPEATABLE_KEY
from retrieval.prompt import Turn, answer_messages
from retrieval.search import Hit
from tests.fakes import MakeChunk

Compare = Callable[..., Exchange]


@pytest.fixture
def compared(make_chunk: MakeChunk) -> Compare:
    """Factory of exchanges in which two models were compared."""
    hits = (Hit(1.0, make_chunk(), None),)

    def make(
        left: str | None, right: str | None, vote: Vote | None, *, blind: bool = True
    ) -> Exchange:
        drafts = [
            Draft(
                model,
                f"{model} streamed [1] [9]",
                Answer(
                    question="How does take work?",
                    text=f"{model} says [1:L1-L2]",
                    citations=(),
                    dropped=("[9]",),
                    evidence=hits,
                    mode="model" if model else "extractive",
                    model=model,
                    abstained=False,
                    words_only=False,
                    draft=number,
                ),
            )
            for number, model in enumerate((left, right))
        ]
        return Exchange(
            "How?",
            evidence=hits,
            drafts=tuple(drafts),
            blind=blind,
            vote=vote,
            history=(Turn("What is it?", "A bucket."),),
        )

    return make


@pytest.mark.parametrize(
    ("wins", "total", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (3, 3, 0.4385, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_the_interval_is_wilsons(wins: int, total: int, low: float, high: float) -> None:
    share = wilson_interval(wins, total)
    assert (share.share, share.low, share.high) == pytest.approx(
        (wins / total, low, high), abs=1e-4
    )
    assert share.is_clear == (wins == 0)


@pytest.mark.parametrize(("wins", "total"), [(0, 0), (2, 1), (-1, 3)])
def test_an_interval_of_no_votes_is_refused(wins: int, total: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson_interval(wins, total)


def test_votes_count_for_the_model_on_whichever_side_it_stood(compared: Compare) -> None:
    votes = [
        compared("base", "tuned", "right"),
        compared("tuned", "base", "left"),
        compared("tuned", "base", "right", blind=False),
        compared("tuned", "base", "tie"),
        compared("base", "tuned", "neither"),
        compared("base", None, "left"),
        compared("base", "base", "left"),
        compared("base", "tuned", None),
    ]
    first, second = count_votes(votes)
    assert (first.models, first.wins, first.ties, first.neither) == (
        ("base", "tuned"),
        (1, 2),
        1,
        1,
    )
    assert first.blind == 4
    assert first.first_share == wilson_interval(1, 3)
    assert (second.models, second.wins) == (("base", "quotations"), (1, 0))


def test_a_favoured_side_shows_in_blind_votes_alone(compared: Compare) -> None:
    blind = [compared("base", "tuned", "left"), compared("tuned", "base", "left")] * 10
    seen = [compared("base", "tuned", "right", blind=False)] * 50
    share = left_share([*blind, *seen, compared("base", "tuned", "tie")])
    assert share and share.share == 1 and share.is_clear
    assert left_share(seen) is None


def test_a_pair_is_the_messages_that_both_models_were_given(compared: Compare) -> None:
    exchange = compared("base", "tuned", "right")
    (pair,) = preference_pairs([exchange])
    chunks = [hit.chunk for hit in exchange.evidence or ()]
    assert pair["prompt"] == answer_messages(
        "How does take work?", chunks, exchange.history, key=REPEATABLE_KEY
    )
    assert pair["chosen"] == [{"role": "assistant", "content": "tuned says [1:L1-L2]"}]
    assert pair["rejected"] == [{"role": "assistant", "content": "base says [1:L1-L2]"}]


def test_what_prefers_no_models_writing_makes_no_pair(compared: Compare) -> None:
    good = compared("base", "tuned", "left")
    same = replace(good, drafts=(good.drafts[0], good.drafts[0]))
    broken = replace(good, drafts=(good.drafts[0], Draft("tuned", "Half", problem="down")))
    others = [
        *(compared("base", "tuned", vote) for vote in ("tie", "neither", None)),
        *(compared("base", None, vote) for vote in ("left", "right")),
    ]
    assert list(preference_pairs([same, broken, *others])) == []


@pytest.fixture
def history_file(tmp_path: Path) -> Callable[[Sequence[Exchange]], Path]:
    """Factory of files of conversations."""

    def make(exchanges: Sequence[Exchange]) -> Path:
        file = tmp_path / "conversations.sqlite"
        with closing(History(file, scope="index")) as history:
            for number, exchange in enumerate(exchanges):
                history.begin("ada", f"c{number}", replace(exchange, id=f"e{number}"))
                if exchange.vote:
                    history.vote("ada", f"e{number}", exchange.vote)
        return file

    return make


def test_the_command_prints_a_table_and_writes_pairs_that_trl_reads(
    compared: Compare,
    history_file: Callable[[Sequence[Exchange]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    votes = [compared("base", "tuned", "right")] * 9 + [compared("tuned", "base", "tie")]
    file, out = history_file(votes), tmp_path / "pairs.jsonl"
    assert main(["eval", "votes", "--history", str(file), "--export", str(out)]) == 0
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines()][1] == (
        "base tuned 0 9 1 0 10 0% 0% to 30% *".split()
    )
    assert "The left answer won 0% of the blind votes" in printed
    assert f"{out}: 9 pairs" in printed

    from datasets import load_dataset
    from trl.data_utils import is_conversational

    pairs = load_dataset("json", data_files=str(out), cache_dir=str(tmp_path), split="train")
    assert pairs.column_names == ["prompt", "chosen", "rejected"]
    assert len(pairs) == 9 and is_conversational(pairs[0])
    assert [message["role"] for message in pairs[0]["prompt"]] == [
        *("system", "user", "assistant", "user"),
    ]


def test_the_command_prints_one_json_object(
    compared: Compare,
    history_file: Callable[[Sequence[Exchange]], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = history_file([compared("base", "tuned", "right")] * 2)
    assert main(["eval", "votes", "--history", str(file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["votes"], report["pairs"]) == (2, 2)
    assert report["contests"][0]["wins"] == [0, 2]
    assert report["contests"][0]["first_share"]["high"] == pytest.approx(0.6576, abs=1e-4)


def test_the_command_says_where_there_is_nothing_to_count(
    history_file: Callable[[Sequence[Exchange]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["eval", "votes", "--history", str(history_file([]))]) == 0
    assert "no votes yet" in capsys.readouterr().out
    assert main(["eval", "votes", "--history", str(tmp_path / "none")]) == 1
    assert "choose a file with --history" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_pairs_are_written_whole_or_not_at_all(
    compared: Compare,
    history_file: Callable[[Sequence[Exchange]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, out = history_file([compared("base", "tuned", "left")]), tmp_path / "none" / "pairs.jsonl"
    assert main(["eval", "votes", "--history", str(file), "--export", str(out)]) == 1
    assert "cannot write to" in capsys.readouterr().err
