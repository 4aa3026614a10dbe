"""Answers and passages as JSON: the same records on the command line and over HTTP."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.answer import Answer
    from retrieval.citations import Citation
    from retrieval.search import Hit


def hit_record(rank: int, hit: "Hit") -> dict[str, Any]:
    """Describe a passage that was found.

    :param rank: from 1; what citations call it.
    """
    chunk = hit.chunk
    return {
        "rank": rank,
        "score": round(hit.score, 6),
        "repo": chunk.repo,
        "commit": chunk.commit,
        "path": chunk.path,
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
        "symbol": chunk.symbol,
        "language": chunk.language,
        "url": hit.url,
        "text": chunk.text,
    }


def citation_record(citation: "Citation") -> dict[str, Any]:
    """Describe lines that an answer cites; `n` is the passage's number, from 1."""
    return {
        "n": citation.passage,
        "repo": citation.repo,
        "path": citation.path,
        "start_line": citation.start_line,
        "end_line": citation.end_line,
        "url": citation.url,
    }


def answer_facts(answer: "Answer") -> dict[str, Any]:
    """Say of an answer what is neither its text nor what it cites or was given."""
    return {
        "question": answer.question,
        "mode": answer.mode,
        "abstained": answer.abstained,
        "words_only": answer.words_only,
        "dropped": list(answer.dropped),
        "doubts": [
            {"citation": citation_record(doubt.citation), "names": list(doubt.names)}
            for doubt in answer.doubts
        ],
        "related": list(answer.related),
    }
