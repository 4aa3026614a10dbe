"""Question → evidence → cited answer, as a stream of events. No user interface here.

The evidence comes first, then the text as it is written, then the whole answer with its citations
checked. Where the evidence is too weak there is no answer, but what was looked for and where.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from app import extractive, followup
from app.abstention import missing_words
from data_tools.errors import LanguageModelError
from retrieval import citations
from retrieval.citations import Citation
from retrieval.index import CodeIndex
from retrieval.prompt import (
    REFUSAL,
    Message,
    Turn,
    answer_messages,
    fit_evidence,
    rewrite_messages,
)
from retrieval.search import Hit, check_question

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MAX_REWRITE_CHARS = 500

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


def answer(
    index: CodeIndex,
    question: str,
    *,
    chat: "BaseChatModel | None" = None,
    history: Sequence[Turn] = (),
    k: int = 8,
    repos: Sequence[str] | None = None,
    languages: Sequence[str] | None = None,
    path_glob: str | None = None,
) -> Generator[Event]:
    """Answer a question from the index: evidence first, then text, then the checked answer.

    :param chat: the language model; None answers with quotations.
    :param history: earlier turns, oldest first; with any, the question is made to stand alone.
    :param k: how many passages to give as evidence.
    :raises QuestionError: the question is empty, too long, or not valid Unicode.
    :raises LanguageModelError: the model does not answer; the evidence was sent by then.
    """
    typed = check_question(question)
    question = _stand_alone(typed, history, chat)
    if question != typed:
        yield Rewritten(question)
    hits = tuple(index.search(question, k, repos=repos, languages=languages, path_glob=path_glob))
    hits = hits[: len(fit_evidence([hit.chunk for hit in hits]))]
    words_only = not index.vectors_ready
    yield EvidenceFound(hits, words_only)
    mode: Mode = "extractive" if chat is None else "model"
    missing = missing_words(index, question, hits)
    if missing is not None:
        text, abstained = _say_what_is_missing(index, missing, hits, repos), True
        yield Delta(text)
    elif chat is None:
        embedder = None if words_only else index.embedder
        extract = extractive.answer_extractively(
            question, hits, rarity=index.rarity, embedder=embedder
        )
        text = extract.text
        abstained = False
        yield Delta(text)
    else:
        text = ""
        messages = answer_messages(question, [hit.chunk for hit in hits], history)
        for delta in _ask(chat, messages):
            text += delta
            yield Delta(delta)
        abstained = REFUSAL.rstrip(".").lower() in text.lower()
    web_urls = {record.name: record.web_url for record in index.manifest.repositories}
    checked = citations.check_citations(text, [hit.chunk for hit in hits], web_urls)
    yield Answer(
        question=question,
        text=checked.text,
        citations=checked.citations,
        dropped=checked.dropped,
        evidence=hits,
        mode=mode,
        model=_model_name(chat),
        abstained=abstained,
        words_only=words_only,
    )


def _ask(chat: "BaseChatModel", messages: Sequence[Message]) -> Iterator[str]:
    from langchain_core.messages import convert_to_messages

    from app.llm import stream_text

    stream = stream_text(chat, convert_to_messages([dict(message) for message in messages]))
    with closing(stream):
        yield from stream


def _model_name(chat: "BaseChatModel | None") -> str | None:
    if chat is None:
        return None
    from app.llm import chat_model_name

    return chat_model_name(chat)


def _stand_alone(question: str, history: Sequence[Turn], chat: "BaseChatModel | None") -> str:
    """Make a follow-up stand alone: by the model where there is one, else by rule."""
    if not history:
        return question
    if chat is not None:
        try:
            rewrite = "".join(_ask(chat, rewrite_messages(question, history))).strip()
        except LanguageModelError:
            rewrite = ""  # if the model is down, asking it for the answer will say so
        if rewrite and len(rewrite) <= MAX_REWRITE_CHARS and "\n" not in rewrite:
            return rewrite
    return followup.stand_alone(question, history)


def _say_what_is_missing(
    index: CodeIndex, missing: Sequence[str], hits: Sequence[Hit], repos: Sequence[str] | None
) -> str:
    names = repos or [record.name for record in index.manifest.repositories]
    where = ", ".join(f"`{name}`" for name in names)
    text = f"I did not find an answer to this in {where} ({len(index):,} passages searched)."
    if missing:
        words = ", ".join(f"`{word}`" for word in missing[:5])
        text += f" Nothing that fits says anything of {words}."
    if hits:
        nearest = hits[0].chunk
        place = citations.format_citation(1, nearest.start_line, nearest.end_line)
        text += f" The nearest that I found is `{nearest.path}` {place}."
    return text
