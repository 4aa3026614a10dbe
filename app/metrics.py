"""What happens to answers, counted as Prometheus reads it.

Any stream of events is counted on its way through `Metrics.observe`, so that the page, the API
and whatever asks next count alike. Nothing of a question or an answer is kept: no label holds
what a person typed. A registry of its own, so that several apps may live in one process.
"""

import time
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from app.answer import Answer, Delta, Event, EvidenceFound, Failed
from app.stopping import is_stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.answer import Strategy
    from app.workspace import Workspace

CONTENT_TYPE = CONTENT_TYPE_LATEST
SEARCH_BUCKETS_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)
MODEL_BUCKETS_S = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 40, 80, 160)

Outcome = Literal["answered", "abstained", "failed", "stopped"]


class Metrics:
    """Counts of answers since the process started; any number of threads may count at once."""

    content_type = CONTENT_TYPE

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._answers = Counter(
            "codeqa_answers",
            "Answers by how they ended: answered, abstained, failed or stopped.",
            ("outcome", "strategy"),
            registry=self.registry,
        )
        self._running = Gauge(
            "codeqa_running_answers", "Answers on their way.", registry=self.registry
        )
        self._retrieval = self._histogram(
            "codeqa_retrieval_seconds", "From a question to its evidence.", SEARCH_BUCKETS_S
        )
        self._model = self._histogram(
            "codeqa_model_seconds", "From the evidence to the end of an answer.", MODEL_BUCKETS_S
        )
        self._first_token = self._histogram(
            "codeqa_first_token_seconds",
            "From a question to the first text of its answer.",
            MODEL_BUCKETS_S,
        )
        self._tokens = Counter(
            "codeqa_tokens",
            "Tokens as the model's server counted them: prompt or completion.",
            ("kind",),
            registry=self.registry,
        )
        self._citations = Counter(
            "codeqa_citations",
            "Citations in answers: kept, dropped as not in the evidence, or doubted.",
            ("fate",),
            registry=self.registry,
        )
        for fate in ("kept", "dropped", "doubted"):
            self._citations.labels(fate)  # so that a rate can be taken from the start

    def _histogram(self, name: str, meaning: str, buckets_s: tuple[float, ...]) -> Histogram:
        return Histogram(name, meaning, buckets=buckets_s, registry=self.registry)

    def watch_index(self, workspace: "Workspace") -> None:
        """Report what the index holds, as it is whenever someone asks."""
        self.registry.register(_IndexCollector(workspace))

    def write(self) -> bytes:
        """Write everything in Prometheus' text format, of type `content_type`."""
        return generate_latest(self.registry)

    def observe_search(self, seconds: float) -> None:
        """Count a search that no answer followed."""
        self._retrieval.observe(seconds)

    def observe(
        self, events: Generator[Event], *, strategy: "Strategy" = "direct"
    ) -> Generator[Event]:
        """Pass on the events of an answer, or of several that are compared, and count them.

        Closing this closes `events` and counts what was still running as stopped.
        """
        watch = _Watch(self._retrieval, self._model, self._first_token)
        ended: Outcome = "stopped"  # unless something else happens first
        self._running.inc()
        try:
            with closing(events):
                for event in events:
                    watch.note(event)
                    if isinstance(event, Answer):
                        self._count(event)
                    yield event
            ended = "failed"  # of drafts that got no answer until the end
        except Exception:
            ended = "stopped" if is_stopped() else "failed"
            raise
        finally:
            self._running.dec()
            for outcome in watch.outcomes(ended):
                self._answers.labels(outcome, strategy).inc()

    def _count(self, answer: Answer) -> None:
        doubted = {doubt.citation for doubt in answer.doubts}
        self._citations.labels("kept").inc(len(set(answer.citations) - doubted))
        self._citations.labels("doubted").inc(len(doubted))
        self._citations.labels("dropped").inc(len(answer.dropped))
        if answer.usage:
            self._tokens.labels("prompt").inc(answer.usage.prompt_tokens or 0)
            self._tokens.labels("completion").inc(answer.usage.completion_tokens or 0)


class _Watch:
    """One stream of events: when what came, and how each draft ended."""

    def __init__(self, retrieval: Histogram, model: Histogram, first_token: Histogram) -> None:
        self._retrieval, self._model, self._first_token = retrieval, model, first_token
        self._asked_s = time.perf_counter()
        self._found_s: float | None = None
        self._outcomes: dict[int, Outcome | None] = {}

    def note(self, event: Event) -> None:
        now_s = time.perf_counter()
        match event:
            case EvidenceFound() if self._found_s is None:
                self._found_s = now_s
                self._retrieval.observe(now_s - self._asked_s)
            case Delta(_, draft) if draft not in self._outcomes:
                self._outcomes[draft] = None
                self._first_token.observe(now_s - self._asked_s)
            case Failed(_, draft):
                self._outcomes[draft] = "failed"
            case Answer():
                self._outcomes[event.draft] = "abstained" if event.abstained else "answered"
                if event.mode == "model" and self._found_s is not None:
                    self._model.observe(now_s - self._found_s)

    def outcomes(self, ended: Outcome) -> "Iterator[Outcome]":
        """How each draft ended, where the stream ended so."""
        for outcome in self._outcomes.values() or (None,):
            yield outcome or ended


class _IndexCollector(Collector):
    """What the index holds, read when Prometheus asks."""

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        """Yield one gauge a fact; none of them before there is an index."""
        index = self._workspace.index()
        if index is None:
            return
        manifest = index.manifest
        age_s = max(0.0, time.time() - manifest.created_at)
        for name, meaning, value in (
            ("codeqa_index_chunks", "Passages that can be found.", manifest.chunks),
            ("codeqa_index_vectors", "Passages that can be found by meaning.", manifest.vectors),
            ("codeqa_index_age_seconds", "Since the index was written.", age_s),
        ):
            yield GaugeMetricFamily(name, meaning, value=value)
