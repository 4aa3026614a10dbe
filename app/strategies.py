"""What each way of answering costs, said before it runs.

Computed from what `app.answer` will do and from the bounds of its prompts: where that depends on
the question, the most that it can be.
"""

from dataclasses import dataclass

from app.events import Strategy
from app.related import MAX_SEARCHES
from app.sub_questions import MOST_PARTS
from retrieval.prompt import (
    MAX_EVIDENCE_CHARS,
    MAX_HISTORY_CHARS,
    MAX_HISTORY_TURNS,
    SPLIT,
    SUGGEST,
    SYSTEM,
)

CHARS_A_TOKEN = 4.0  # of code and prose mixed, with the tokenizers of today's models
PASSAGE_OVERHEAD = 1.2  # labels and line numbers, in a prompt, as a factor on the passages


@dataclass(frozen=True)
class Cost:
    """What an answer takes, besides the time that the model writes.

    :param searches: of the index.
    :param calls: of the model.
    :param prompt_tokens: that the model reads in all calls.
    :param at_most: it may be less; else this is what it will be.
    """

    searches: int
    calls: int
    prompt_tokens: int
    at_most: bool

    @property
    def text(self) -> str:
        """In words, such as "1 search, 1 call of the model, about 4,000 tokens read"."""
        up_to = "up to " if self.at_most else ""
        searches = f"{up_to}{self.searches} search{'es' * (self.searches > 1)}"
        if not self.calls:
            return f"{searches}, no model"
        calls = f"{up_to}{self.calls} call{'s' * (self.calls > 1)} of the model"
        tokens = round(self.prompt_tokens, -3) or self.prompt_tokens
        return f"{searches}, {calls}, {up_to or 'about '}{tokens:,} tokens read"


def describe_cost(strategy: Strategy, *, has_model: bool, follow_up: bool, drafts: int = 1) -> Cost:
    """Say what an answer will take.

    :param has_model: whether a language model answers; else the code is quoted.
    :param follow_up: whether there are earlier turns: then the model rewrites the question first,
        and has them in its prompt.
    :param drafts: how many models answer side by side, from one search.
    """
    history = MAX_HISTORY_TURNS * 2 * MAX_HISTORY_CHARS * follow_up
    answering = len(SYSTEM) + int(MAX_EVIDENCE_CHARS * PASSAGE_OVERHEAD)
    searches, calls, chars = 1, drafts, drafts * (answering + history)
    if strategy == "sub-questions":
        searches = MOST_PARTS
        calls += 1 + MOST_PARTS
        chars += len(SPLIT) + MOST_PARTS * (answering + MAX_HISTORY_CHARS)
    elif strategy == "related":
        searches += 1 + MAX_SEARCHES
        calls += 1
        chars += answering + history + MAX_HISTORY_CHARS + len(SUGGEST)
    if follow_up:
        calls, chars = calls + 1, chars + history
    if not has_model:
        calls, chars = 0, 0
    return Cost(searches, calls, int(chars / CHARS_A_TOKEN), at_most=strategy != "direct")
