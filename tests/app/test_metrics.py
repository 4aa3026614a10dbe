"""How answers are counted, event by event."""

from collections.abc import Generator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.answer import Answer, Delta, Doubt, Event, EvidenceFound, Failed, Usage
from app.metrics import Metrics
from app.stopping import Stop
from data_tools.errors import LanguageModelError
from retrieval.citations import Citation

FOUND = EvidenceFound((), words_only=False)
CITATION = Citation(1, "limits", "limits/bucket.py", 1, 2, None)
OTHER = Citation(1, "limits", "limits/bucket.py", 4, 5, None)


def done(*, draft: int = 0, abstained: bool = False) -> Answer:
    return Answer(
        question="?",
        text="It waits.",
        citations=(CITATION, OTHER),
        dropped=("[9]",),
        evidence=(),
        mode="model",
        model="stub-model",
        abstained=abstained,
        words_only=False,
        draft=draft,
        doubts=(Doubt(OTHER, ("take",)),),
        usage=Usage(0.1, 0.2, 0.3, calls=1, prompt_tokens=40, completion_tokens=2),
    )


def events_of(*events: Event | Exception) -> Generator[Event]:
    for event in events:
        if isinstance(event, Exception):
            raise event
        yield event


def counted(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name that are not 0, by the values of their labels."""
    families = text_string_to_metric_families(metrics.write().decode())
    return {
        tuple(sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and sample.value
    }


@pytest.mark.parametrize(
    ("events", "outcomes"),
    [
        ((FOUND, Delta("It"), done()), {"answered": 1}),
        ((FOUND, Delta("I do not"), done(abstained=True)), {"abstained": 1}),
        ((FOUND, Delta("a"), Delta("b", 1), done(), done(draft=1)), {"answered": 2}),
        ((FOUND, Delta("a"), Failed("it died", 1), done()), {"answered": 1, "failed": 1}),
        ((FOUND, Delta("a")), {"failed": 1}),
    ],
)
def test_each_draft_is_counted_by_how_it_ended(
    events: tuple[Event, ...], outcomes: dict[str, int]
) -> None:
    metrics = Metrics()
    assert tuple(metrics.observe(events_of(*events), strategy="related")) == events
    found = counted(metrics, "codeqa_answers_total")
    assert found == {(outcome, "related"): number for outcome, number in outcomes.items()}


def test_an_error_is_passed_on_and_counted() -> None:
    metrics = Metrics()
    with pytest.raises(LanguageModelError, match="it died"):
        list(metrics.observe(events_of(FOUND, Delta("a"), LanguageModelError("it died"))))
    assert counted(metrics, "codeqa_answers_total") == {("failed", "direct"): 1}
    assert counted(metrics, "codeqa_running_answers") == {}


def test_an_answer_that_is_closed_was_stopped() -> None:
    metrics = Metrics()
    inner = events_of(FOUND, Delta("a"), done())
    events = metrics.observe(inner)
    next(events)
    assert counted(metrics, "codeqa_running_answers") == {(): 1}
    events.close()
    assert next(inner, None) is None
    assert counted(metrics, "codeqa_answers_total") == {("stopped", "direct"): 1}
    assert counted(metrics, "codeqa_running_answers") == {}


def test_a_connection_that_is_cut_to_stop_an_answer_is_no_failure() -> None:
    metrics, stop = Metrics(), Stop()
    with stop.watching(), pytest.raises(LanguageModelError):
        for _ in metrics.observe(events_of(Delta("a"), LanguageModelError("it broke off"))):
            stop.set()
    assert counted(metrics, "codeqa_answers_total") == {("stopped", "direct"): 1}


def test_tokens_and_citations_are_summed() -> None:
    metrics = Metrics()
    for _ in range(2):
        list(metrics.observe(events_of(FOUND, Delta("a"), done())))
    assert counted(metrics, "codeqa_tokens_total") == {("prompt",): 80, ("completion",): 4}
    assert counted(metrics, "codeqa_citations_total") == {
        ("kept",): 2,
        ("doubted",): 2,
        ("dropped",): 2,
    }


def test_two_apps_count_for_themselves() -> None:
    one, two = Metrics(), Metrics()
    list(one.observe(events_of(FOUND, done())))
    assert counted(two, "codeqa_answers_total") == {}
