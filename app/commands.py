"""What each `codeqa` command does. Heavy libraries are imported inside the command."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.errors import QuestionError

if TYPE_CHECKING:
    from app.answer import Answer
    from retrieval.index import Hit


def run_chat(options: argparse.Namespace) -> None:
    """Open the page, and index in the background what was asked for."""
    from app.cli import DEFAULT_INDEX
    from app.llm import open_chat_model
    from app.progress import ProgressBar
    from app.web import launch
    from app.workspace import Workspace

    chat = open_chat_model(options.llm, model=options.model, timeout_s=options.timeout)
    default = os.environ.get("CODEQA_INDEX", DEFAULT_INDEX)
    folder = options.index or (_folder_for(options.repos) if options.repos else default)
    workspace = Workspace(Path(folder), options.repos, options.embedder)
    workspace.start(ProgressBar())
    launch(
        workspace,
        chat,
        host=options.host,
        port=options.port,
        open_browser=not options.no_browser and sys.stdout.isatty(),
    )


def _folder_for(specs: Sequence[str]) -> Path:
    """Choose an index folder of its own for each set of repositories."""
    from data_tools.clone import cache_folder
    from data_tools.sources import is_remote, repository_name, split_spec

    locations = [split_spec(spec)[0] for spec in specs]
    whole = [loc if is_remote(loc) else str(Path(loc).expanduser().resolve()) for loc in locations]
    key = hashlib.sha256("\n".join(sorted(whole)).encode("utf-8", "replace")).hexdigest()[:8]
    return cache_folder() / "indexes" / f"{repository_name(locations[0])}-{key}"


def run_index(options: argparse.Namespace) -> None:
    """Index repositories, or update those of the index."""
    from app.progress import ProgressBar
    from retrieval.index import index_repositories

    with ProgressBar() as bar:
        report = index_repositories(
            options.repos, Path(options.index), embedder=options.embedder, report=bar
        )
    manifest = report.manifest
    for record in manifest.repositories:
        print(
            f"{record.name} @ {record.commit[:12]}: {record.files:,} files, "
            f"{record.chunks:,} chunks, {record.skipped:,} files skipped"
        )
    state = "written" if report.changed else "unchanged"
    print(f"{options.index}: {state}, {manifest.chunks:,} chunks, {report.embedded:,} embedded")


def run_ask(options: argparse.Namespace) -> None:
    """Answer one question; the text streams if someone is watching."""
    from app.answer import Answer, Delta, answer
    from app.llm import open_chat_model
    from retrieval.index import CodeIndex, check_question

    check_question(options.question)
    with CodeIndex.open(options.index) as index:
        chat = open_chat_model(options.llm, model=options.model, timeout_s=options.timeout)
        streams = sys.stdout.isatty() and not options.json
        for event in answer(
            index,
            options.question,
            chat=chat,
            k=options.k,
            repos=options.repo,
            languages=options.language,
            path_glob=options.path,
        ):
            if isinstance(event, Delta) and streams:
                print(event.text, end="", flush=True)
            elif isinstance(event, Answer):
                _print_answer(event, options.json, streams)


def _print_answer(answer: "Answer", as_json: bool, streamed: bool) -> None:
    if as_json:
        print(json.dumps(_answer_record(answer), ensure_ascii=False))
        return
    print("" if streamed else answer.text)
    if answer.citations:
        print("\nSources:")
        for citation in answer.citations:
            lines = f"L{citation.start_line}-L{citation.end_line}"
            print(f"  [{citation.passage}:{lines}] {citation.url or citation.label}")
    if answer.dropped:
        print(f"removed, not in the evidence: {' '.join(answer.dropped)}", file=sys.stderr)
    source = f"by {answer.model}" if answer.model else "quoted from the code; see --llm"
    print(f"({source})", file=sys.stderr)


def _answer_record(answer: "Answer") -> dict[str, Any]:
    return {
        "question": answer.question,
        "text": answer.text,
        "citations": [vars(citation) for citation in answer.citations],
        "dropped": list(answer.dropped),
        "evidence": [_hit_record(rank, hit) for rank, hit in enumerate(answer.evidence, start=1)],
        "mode": answer.mode,
        "model": answer.model,
        "abstained": answer.abstained,
        "words_only": answer.words_only,
    }


def run_search(options: argparse.Namespace) -> None:
    """Print ranked chunks for one question or for each of a file of them."""
    from retrieval.index import CodeIndex

    if (options.question is None) == (options.queries is None):
        raise QuestionError("give either a question or --queries FILE")
    queries = list(_read_queries(options.queries)) if options.queries else [("", options.question)]
    with CodeIndex.open(options.index) as index:
        if not index.vectors_ready:
            print("vectors are not made yet: searching words alone", file=sys.stderr)
        for identifier, question in queries:
            hits = index.search(
                question,
                options.k,
                repos=options.repo,
                languages=options.language,
                path_glob=options.path,
            )
            for rank, hit in enumerate(hits, start=1):
                _print_hit(rank, hit, identifier, options)


def _print_hit(rank: int, hit: "Hit", identifier: object, options: argparse.Namespace) -> None:
    if options.json:
        record = _hit_record(rank, hit)
        if options.queries:
            record = {"id": identifier, **record}
        print(json.dumps(record, ensure_ascii=False))
        return
    chunk = hit.chunk
    prefix = f"{identifier}\t" if options.queries else ""
    name = f"  {chunk.symbol}" if chunk.symbol else ""
    print(f"{prefix}{hit.score:.3f}  {chunk.path}:{chunk.start_line}-{chunk.end_line}{name}")


def _hit_record(rank: int, hit: "Hit") -> dict[str, Any]:
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


def _read_queries(file: str) -> Iterator[tuple[object, str]]:
    """Read `{"id": …, "query": …}` lines; a bad one is refused with its number."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionError(f"cannot read {file}: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            identifier, query = record["id"], record["query"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise QuestionError(f'{file}:{number}: not a {{"id": …, "query": …}} object') from error
        if not isinstance(query, str):
            raise QuestionError(f"{file}:{number}: `query` is not text")
        yield identifier, query


def run_status(options: argparse.Namespace) -> None:
    """Say what an index holds."""
    from app.status import print_status

    print_status(
        options.index, offline=options.offline, list_skipped=options.skipped, as_json=options.json
    )


def run_flatten(options: argparse.Namespace) -> None:
    """Write the flattened corpus."""
    from data_tools.flatten import flatten

    from app.progress import ProgressBar

    with ProgressBar() as bar:
        for report in flatten(options.repos, Path(options.out), report=bar.say):
            print(f"{report.folder}: {report.kept:,} files kept, {report.skipped:,} skipped")
