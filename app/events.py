"""What comes of a question, as a stream of events: the types alone.

Evidence first, then pieces of text, then whole answers. `app.answer` and `app.compare` send them;
the page, the command line, the interfaces and the metrics take them.
"""

from dataclasses import dataclass
from typing import Literal

from retrieval.citations import Citation
from retrieval.search import Hit

Mode = Literal["model", "extractive"]
Strategy = Literal["direct", "sub-questions", "related"]


@dataclass(frozen=True)
class Rewritten:
    """The question as it is searched for, where that differs from what was typed."""

    question: str


@dataclass(frozen=True)
class SubQuestions:
    """The parts that a question was broken up into; a `Step` follows for each."""

    questions: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """What one part of a question came to.

    :param number: of the part, from 1.
    :param text: its answer, citations checked against `hits` and left out.
    """

    number: int
    question: str
    text: str
    hits: tuple[Hit, ...]
    abstained: bool


@dataclass(frozen=True)
class EvidenceFound:
    """The passages that the answer may use; passage n is `hits[n - 1]`.

    :param words_only: the vectors are still being made, so only words were searched.
    """

    hits: tuple[Hit, ...]
    words_only: bool


@dataclass(frozen=True)
class Delta:
    """The next piece of the answer's text, citations not yet checked.

    :param draft: which of the answers that are compared, from 0.
    """

    text: str
    draft: int = 0


@dataclass(frozen=True)
class Failed:
    """One of the answers that are compared broke off; the others go on.

    :param problem: why, in one line that names the fix.
    """

    problem: str
    draft: int = 0


@dataclass(frozen=True)
class Doubt:
    """A claim that its citation does not bear out.

    :param names: what the claim quotes as code, and the cited lines do not hold.
    """

    citation: Citation
    names: tuple[str, ...]


@dataclass(frozen=True)
class Usage:
    """What an answer took; seconds count from the moment it was asked for.

    :param search_s: until the evidence was found.
    :param first_token_s: until the first piece of text; None if there was none.
    :param calls: of the model.
    :param prompt_tokens: of all calls; None where no one counted. Likewise `completion_tokens`.
    """

    search_s: float
    first_token_s: float | None
    total_s: float
    calls: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class Answer:
    """The whole answer: the last event.

    :param question: as it was searched for.
    :param text: Markdown, with good citations as `[n:Lx-Ly]`.
    :param dropped: citations that were not in the evidence, as they were written.
    :param mode: whether a model wrote it, or it is quoted.
    :param model: the model's name.
    :param abstained: the evidence was too weak, or the model said that it holds no answer.
    :param draft: which of the answers that are compared, from 0.
    :param doubts: claims whose names do not stand in the lines that they cite.
    :param related: further questions that the evidence can answer.
    """

    question: str
    text: str
    citations: tuple[Citation, ...]
    dropped: tuple[str, ...]
    evidence: tuple[Hit, ...]
    mode: Mode
    model: str | None
    abstained: bool
    words_only: bool
    draft: int = 0
    doubts: tuple[Doubt, ...] = ()
    related: tuple[str, ...] = ()
    usage: Usage | None = None


Event = Rewritten | SubQuestions | Step | EvidenceFound | Delta | Failed | Answer
