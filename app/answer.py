"""Question → evidence → cited answer, as a stream of events. No user interface here.

The evidence comes first, then the text as it is written, then the whole answer with its citations
checked. Where the evidence is too weak there is no answer, but what was looked for and where.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from app import extractive, followup
from data_tools.errors import LanguageModelError
from retrieval import citations
from retrieval.citations import Citation
from retrieval.index import CodeIndex
from retrieval.lexical import query_tokens
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

# Evidence is too weak to answer from if it is below both. Chosen by asking questions about one
# repository of another, so that those abstain more often than the repository's own.
MIN_COSINE = 0.40
MIN_COVERAGE = 0.55  # share of the question's words, weighed by rarity, that the evidence holds
MIN_COVERAGE_ALONE = 0.35  # while there are no vectors
MAX_REWRITE_CHARS = 500

Mode = Literal["model", "extractive"]


@dataclass(frozen=True)
class Rewritten:
    """The question as it is searched for, where that differs from what was typed."""

    question: str


@dataclass(frozen=True)
class EvidenceFound:
    """The passages that the answer may use; passage n is `hits[n - 1]`.

    :param words_only: the vectors are still being made, so only words were searched.
    """

    hits: tuple[Hit, ...]
    words_only: bool


@dataclass(frozen=True)
class Delta:
    """The next piece of the answer's text, citations not yet checked."""

    text: str


@dataclass(frozen=True)
class Answer:
    """The whole answer: the last event.

    :param question: as it was searched for.
    :param text: Markdown, with good citations as `[n:Lx-Ly]`.
    :param dropped: citations that were not in the evidence, as they were written.
    :param mode: whether a model wrote it, or it is quoted.
    :param model: the model's name.
    :param abstained: the evidence was too weak, or the model said that it holds no answer.
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


Event = Rewritten | EvidenceFound | Delta | Answer


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
    missing = _missing_words(index, question, hits)
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


def _missing_words(index: CodeIndex, question: str, hits: Sequence[Hit]) -> list[str] | None:
    """Judge the evidence: None if it is good enough, else the telling words it does not hold."""
    tokens = query_tokens(question)
    held = {
        token
        for hit in hits
        for token in query_tokens(f"{hit.chunk.path} {hit.chunk.symbol} {hit.chunk.text}")
    }
    weights = dict(zip(tokens, index.rarity(tokens), strict=True))
    total = sum(weights.values())
    covered = sum(weight for token, weight in weights.items() if token in held)
    coverage = covered / total if total else 0.0
    cosine = max((hit.cosine for hit in hits if hit.cosine is not None), default=None)
    if cosine is None:
        is_weak = coverage < MIN_COVERAGE_ALONE
    else:
        is_weak = coverage < MIN_COVERAGE and cosine < MIN_COSINE
    if hits and not is_weak:
        return None
    missing = {token: weight for token, weight in weights.items() if token not in held}
    words = {token: word for word in question.split() for token in query_tokens(word)}
    best_first = sorted(missing, key=lambda token: -missing[token])
    return list(dict.fromkeys(words.get(token, token).strip("?!.,;:()'\"") for token in best_first))


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
