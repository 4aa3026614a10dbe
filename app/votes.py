"""What people prefer: votes on answers that were compared, summed up, and as pairs for training.

Pairs are made from votes alone. A thumb judges one answer by itself: two thumbs on two models'
answers to one question were given on other evidence, in another conversation and often by another
person, so the two texts do not answer the same prompt, which is what preference training assumes.
Quotations are no model's writing and are in no pair.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

from app.conversation import Exchange
from data_tools.errors import HistoryError
from retrieval.fence import REPEATABLE_KEY
from retrieval.prompt import Message, answer_messages

Z = 1.959964  # quantile of the normal distribution that leaves out 2.5 % on each side
QUOTATIONS = "quotations"


@dataclass(frozen=True)
class Share:
    """A share of votes, and the interval that holds the true one with 95 % confidence."""

    share: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out one half, which is what chance gives."""
        return not self.low <= 0.5 <= self.high


@dataclass(frozen=True)
class Contest:
    """The votes on two models.

    :param models: in the order of their names; `wins` likewise.
    :param neither: votes that both answers are bad.
    :param blind: votes before which the names were hidden.
    :param first_share: of the votes that chose one of the two, the share of the first model's;
        None where there is none.
    """

    models: tuple[str, str]
    wins: tuple[int, int]
    ties: int
    neither: int
    blind: int
    first_share: Share | None


class PreferencePair(TypedDict):
    """What TRL's `DPOTrainer` reads: messages, and two ways to go on from them."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


def wilson_interval(wins: int, total: int) -> Share:
    """Return a share of votes with its 95 % Wilson score interval.

    It holds for few votes and for shares near 0 and 1, where resampling the votes does not: three
    wins of three would get an interval of no width. Votes count as independent of each other; where
    one person gave most of them, the interval says too much.

    :raises ValueError: there are no votes, or more wins than votes.

    Source: Wilson, JASA 22(158), 1927, doi:10.1080/01621459.1927.10502953.
    """
    if not 0 <= wins <= total or not total:
        raise ValueError(f"{wins} of {total} votes is no share")
    share = wins / total
    scale = 1 + Z**2 / total
    middle = (share + Z**2 / (2 * total)) / scale
    half = Z * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2)) / scale
    return Share(share, max(middle - half, 0.0), min(middle + half, 1.0))


def count_votes(exchanges: Iterable[Exchange]) -> list[Contest]:
    """Sum the votes up, by pairs of models; the pair with the most votes comes first."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for exchange in exchanges:
        left, right = _names(exchange)
        if exchange.vote is None or left == right:
            continue
        first, second = sorted((left, right))
        winner = {"left": left, "right": right}.get(exchange.vote)
        count = counts.setdefault((first, second), Counter())
        count["blind"] += exchange.blind
        count[exchange.vote if winner is None else ("first", "second")[winner == second]] += 1
    contests = [
        Contest(
            models,
            (count["first"], count["second"]),
            count["tie"],
            count["neither"],
            count["blind"],
            _share(count["first"], count["second"]),
        )
        for models, count in counts.items()
    ]
    return sorted(contests, key=lambda c: (-sum(c.wins) - c.ties - c.neither, c.models))


def left_share(exchanges: Iterable[Exchange]) -> Share | None:
    """Return how often the left answer won; far from one half, people favour a side.

    Only blind votes count, because there chance drew the sides. None where there are none.
    """
    votes = Counter(exchange.vote for exchange in exchanges if exchange.blind)
    return _share(votes["left"], votes["right"])


def preference_pairs(exchanges: Iterable[Exchange]) -> Iterator[PreferencePair]:
    """Yield a pair for each vote that prefers one model's answer to another's.

    The prompt is the messages that both models were given, written again from the evidence and the
    history that were stored. The answers are as they were shown, without citations that were not
    in the evidence. Equal ones make no pair, nor does one that broke off or was stopped.
    """
    for exchange in exchanges:
        answers = [draft.answer for draft in exchange.drafts[:2]]
        left, right = answers if len(answers) == 2 else (None, None)
        if left is None or right is None or exchange.vote not in ("left", "right"):
            continue
        if "extractive" in (left.mode, right.mode) or left.text.strip() == right.text.strip():
            continue
        better, worse = (left, right) if exchange.vote == "left" else (right, left)
        chunks = [hit.chunk for hit in better.evidence]
        yield PreferencePair(
            prompt=answer_messages(better.question, chunks, exchange.history, key=REPEATABLE_KEY),
            chosen=[Message(role="assistant", content=better.text)],
            rejected=[Message(role="assistant", content=worse.text)],
        )


def run_eval_votes(options: argparse.Namespace) -> None:
    """Say what people voted for, and write the pairs if asked."""
    from app.commands import count, print_json
    from app.evaluation import write_whole
    from app.history import History, default_history

    file = Path(options.history) if options.history else default_history()
    if not file.is_file():
        raise HistoryError(f"no conversations are kept at {file}: choose a file with --history")
    history = History(file, scope="")
    try:
        exchanges = list(history.voted())
    finally:
        history.close()
    contests, left = count_votes(exchanges), left_share(exchanges)
    pairs = list(preference_pairs(exchanges))
    if options.export:
        lines = (json.dumps(pair, ensure_ascii=False).encode() + b"\n" for pair in pairs)
        write_whole(Path(options.export), lines)
    if options.json:
        votes = {"votes": len(exchanges), "pairs": len(pairs)}
        shares = {"left_share": asdict(left) if left else None}
        print_json({**votes, **shares, "contests": [asdict(contest) for contest in contests]})
        return
    _print_contests(contests, left)
    if options.export:
        print(f"{options.export}: {count(len(pairs), 'pair')}")


def _print_contests(contests: Sequence[Contest], left: Share | None) -> None:
    from app.table import print_table

    if not contests:
        print("There are no votes yet: compare two models on the page, and say which is better.")
        return
    rows = [["model", "against", "won", "lost", "tie", "neither", "blind", "share won", "95 %"]]
    for contest in contests:
        counts = (*contest.wins, contest.ties, contest.neither, contest.blind)
        rows.append([*contest.models, *map(str, counts), *_write_share(contest.first_share)])
    print_table(rows)
    print("* clear of chance: the 95 % interval (Wilson) leaves out one half")
    if left is not None:
        share, interval = _write_share(left)
        print(f"The left answer won {share} of the blind votes, {interval}".rstrip())


def _write_share(share: Share | None) -> tuple[str, str]:
    if share is None:
        return "", ""
    return f"{share.share:.0%}", f"{share.low:.0%} to {share.high:.0%}{' *' * share.is_clear}"


def _share(wins: int, losses: int) -> Share | None:
    return wilson_interval(wins, wins + losses) if wins + losses else None


def _names(exchange: Exchange) -> tuple[str, str]:
    names = [draft.model or QUOTATIONS for draft in exchange.drafts[:2]]
    return (names[0], names[1]) if len(names) == 2 else (QUOTATIONS, QUOTATIONS)
