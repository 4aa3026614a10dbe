"""Which claims are doubted: names that the cited lines do not hold, and no others."""

import pytest

from app.claims import find_doubts, find_names, split_claims
from data_tools.chunk import Chunk
from retrieval.citations import check_citations

TIMER = '''\
class TimerCallback(Callback):
    """Stops when the time is up."""

    def __init__(self, max_duration: float, on_stop="log") -> None:
        self.max_duration = max_duration

    def batch_end(self, state, logger):
        if state.timestamp.total_wct > self.max_duration:
            state.stop_training()
'''
OPTIONS = "Run `train --max-duration 10ep --dry-run` with `seed: 17` in `config.yaml`.\n"
EVIDENCE = [
    Chunk(
        "mosaic", "c" * 40, "mosaic/callbacks/timer.py", 11, 19, "python", "TimerCallback", TIMER
    ),
    Chunk("mosaic", "c" * 40, "docs/options.md", 1, 1, "markdown", "Options", OPTIONS),
]


def doubted(text: str, question: str = "What stops it?") -> list[str]:
    checked = check_citations(text, EVIDENCE, {})
    doubts = find_doubts(checked.text, checked.citations, EVIDENCE, question)
    return [name for doubt in doubts for name in doubt.names]


HELD = [
    "`TimerCallback` stops training [1:L11-L19].",
    "TimerCallback calls `state.stop_training()` [1:L17-L19].",
    "Its `max_duration` is a float [1:L14].",
    "`TimerCallback.batch_end` compares `total_wct` [1:L17-L18].",
    "`timer.batch_end(state, logger)` runs after each batch [1:L17].",
    "It is in `mosaic/callbacks/timer.py` [1:L11].",
    "It is in `timer.py`, beside `mosaic/callbacks/` [1:L11].",
    "See timer.py [1:L11].",
    "Pass `--max-duration` or `--dry-run` [2:L1].",
    "Pass --max-duration, which is `max_duration` in YAML [2:L1].",
    "Set `seed` in `config.yaml` [2:L1].",
    "It returns `None`, never `True`, and takes `self`, `**kwargs` and a `dict` [1:L14].",
    "It raises `ValueError` if not `isinstance(x, float)` [1:L14].",
    "It defaults to `log` or `'log'` [1:L14].",
    "TimerCallbacks stop training [1:L11].",
    "It is written in PyTorch and JavaScript, for GitHub [1:L11].",
    "It works with e.g. one and/or two, i.e. `0.5` or `10ep` [1:L11].",
    "The passages do not mention `Stopwatch` [1:L11].",
    "There is no `stop_watch` here [1:L11].",
    "`Stopwatch` is not defined in this file [1:L11].",
    "Use `batch_end` [1:L11]. [1:L17]",  # the claim goes on to its last citation
    "Unlike `Stopwatch`, nobody cites this.",
    "```python\nstop_watch = StopWatch()\n```\n[1:L11]",
    "| `max_duration` | how long [1:L14] |",
    "See [the guide](https://example.com/StopWatch.html) [1:L11].",
]
FALSE = [
    ("`Stopwatch` stops training [1:L11-L19].", ["Stopwatch"]),
    ("StopwatchCallback stops training [1:L11].", ["StopwatchCallback"]),
    ("It calls `batch_start` [1:L11-L19].", ["batch_start"]),
    ("It calls batch_start [1:L11-L19].", ["batch_start"]),
    ("`max_duration` is compared in `batch_end` [1:L14].", ["batch_end"]),  # three lines further on
    ("`TimerCallback.epoch_end` does it [1:L11-L19].", ["TimerCallback.epoch_end"]),
    ("`StopWatch.batch_end` does it [1:L11-L19].", ["StopWatch.batch_end"]),
    ("It runs `state.stop_now()` [1:L19].", ["state.stop_now"]),
    ("It runs `stop(hard=True)` [1:L19].", ["stop"]),
    ("Pass `--max-time` [2:L1].", ["--max-time"]),
    ("Pass --max-time [2:L1].", ["--max-time"]),
    ("It is in `mosaic/callbacks/watch.py` [1:L11].", ["mosaic/callbacks/watch.py"]),
    ("It is in `composer/callbacks/timer.py` [1:L11].", ["composer/callbacks/timer.py"]),
    ("Set `speed` in `settings.toml` [2:L1].", ["speed", "settings.toml"]),
    ("- `max_duration` is one\n- `min_duration` is another [1:L14]", ["min_duration"]),
    ("| `max_duration` | long |\n| `min_duration` | short [1:L14] |", ["min_duration"]),
    ("It stops [1:L11]. Then `restart` goes on [1:L12].", ["restart"]),
    ("`Timercallback` stops it [1:L11].", ["Timercallback"]),
]


@pytest.mark.parametrize("text", HELD)
def test_a_claim_whose_names_stand_in_its_lines_is_not_doubted(text: str) -> None:
    assert doubted(text) == []


@pytest.mark.parametrize(("text", "names"), FALSE)
def test_a_name_that_the_cited_lines_do_not_hold_is_doubted(text: str, names: list[str]) -> None:
    assert doubted(text) == names


def test_several_citations_of_a_claim_bear_it_out_together() -> None:
    assert doubted("`max_duration` is compared in `batch_end` [1:L14] [1:L17].") == []


def test_names_of_the_question_may_be_repeated() -> None:
    text = "`StopWatch` is not `TimerCallback`, which stops training [1:L11]."
    assert doubted(text) == ["StopWatch"]
    assert doubted(text, "Is StopWatch faster?") == []


def test_a_doubt_stands_at_the_first_citation_of_its_claim() -> None:
    text = "It stops [1:L11]. `Stopwatch` runs [1:L12] and `total_wct` grows [1:L13]."
    checked = check_citations(text, EVIDENCE, {})
    (doubt,) = find_doubts(checked.text, checked.citations, EVIDENCE, "")
    assert (doubt.citation.start_line, doubt.names) == (12, ("Stopwatch", "total_wct"))


def test_claims_are_sentences_items_and_rows_with_a_citation() -> None:
    text = (
        "# Title\nIt stops, e.g. `a. B` now. [1:L1-L2] It goes\non [1:L3-L3]. Nothing more.\n\n"
        "- one [1:L1-L1]\n- two\n  goes on [1:L2-L2]\n\n> Quoted. Twice [2:L1-L1]\n"
    )
    assert [*split_claims(text)] == [
        "It stops, e.g. `a. B` now. [1:L1-L2]",
        "It goes on [1:L3-L3].",
        "- one [1:L1-L1]",
        "- two goes on [1:L2-L2]",
        "Twice [2:L1-L1]",
    ]


def test_what_is_written_as_code_is_listed_once_in_order() -> None:
    claim = "Call `fit(model, max_steps=3)` with --fast on MyModel, my_model and MyModel; not And."
    assert find_names(claim) == ["fit", "max_steps", "--fast", "MyModel", "my_model"]
