"""What each `codeqa` command does. Heavy libraries are imported inside the command."""

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.records import hit_record
from data_tools.errors import LanguageModelError, QuestionError
from data_tools.hidden_text import HIDDEN, show_hidden, show_on_one_line

if TYPE_CHECKING:
    from retrieval.search import Hit


def run_chat(options: argparse.Namespace) -> None:
    """Open the page, and index in the background what was asked for."""
    from app.access import find_access
    from app.cli_options import DEFAULT_INDEX
    from app.history import History, default_history
    from app.logs import LogOptions, configure_logs
    from app.models import open_models
    from app.ports import check_port
    from app.progress import ProgressBar
    from app.rate_limits import RateLimits
    from app.web import launch
    from app.workspace import Workspace

    if options.adapter and not options.serve:
        raise LanguageModelError("--adapter is served beside a model: name that with --serve")
    configure_logs(LogOptions(options.log_json, options.log_questions))
    access = find_access(options.host, options.token_file)
    check_port(options.host, options.port)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is lost
    with ExitStack() as stack:
        specs = list(options.llm or ())
        if options.serve:
            from app.serving import serve_for_chat

            specs.insert(0, stack.enter_context(serve_for_chat(options.serve, options.adapter)))
        names = [options.model] if options.model else []
        models = open_models(specs, names=names, timeout_s=options.timeout)
        default = os.environ.get("CODEQA_INDEX", DEFAULT_INDEX)
        folder = options.index or (_folder_for(options.repos) if options.repos else default)
        scope = str(Path(folder).resolve())
        history = History(Path(options.history or default_history()), scope=scope)
        stack.callback(history.close)
        workspace = Workspace(Path(folder), options.repos, options.embedder)
        workspace.start(ProgressBar())
        launch(
            workspace,
            models,
            history,
            host=options.host,
            port=options.port,
            access=access,
            rates=RateLimits(options.rate_limit or ()),
            open_browser=not options.no_browser and sys.stdout.isatty(),
        )


def _folder_for(specs: Sequence[str]) -> Path:
    """Choose an index folder of its own for each set of repositories."""
    from data_tools.clone import cache_folder
    from data_tools.sources import plain_location, repository_name, split_spec

    locations = [split_spec(spec)[0] for spec in specs]
    whole = [plain_location(location) for location in locations]
    key = hashlib.sha256("\n".join(sorted(whole)).encode("utf-8", "replace")).hexdigest()[:8]
    return cache_folder() / "indexes" / f"{repository_name(locations[0])}-{key}"


def run_index(options: argparse.Namespace) -> None:
    """Index repositories, update those of the index, or take some out."""
    from app.progress import ProgressBar
    from data_tools.secrets import say_redacted
    from retrieval.index import index_repositories

    with ProgressBar() as bar:
        report = index_repositories(
            options.repos,
            Path(options.index),
            embedder=options.embedder,
            report=bar,
            remove=options.remove or (),
        )
    manifest = report.manifest
    for record in manifest.repositories:
        name = show_on_one_line(record.name)
        print(
            f"{name} @ {record.commit[:12]}: {count(record.files, 'file')}, "
            f"{count(record.chunks, 'chunk')}, {count(record.skipped, 'file')} skipped"
        )
        if record.redacted:
            print(f"  {say_redacted(record.redacted)}; `codeqa status` names the files")
    state = "written" if report.changed else "unchanged"
    print(
        f"{options.index}: {state}, {count(manifest.chunks, 'chunk')}, {report.embedded:,} embedded"
    )


def count(number: int, noun: str) -> str:
    """Write a number with its noun, in the plural where that is due."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def run_search(options: argparse.Namespace) -> None:
    """Print ranked chunks for one question or for each of a file of them."""
    from retrieval.index import CodeIndex
    from retrieval.search import check_question

    if options.queries is None:
        queries: list[tuple[object, str]] = [("", check_question(options.question))]
    else:
        queries = list(_read_queries(options.queries))
    with CodeIndex.open(options.index) as index:
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
        if not index.vectors_ready:
            print("(by words alone: vectors are not made yet)", file=sys.stderr)


def _print_hit(rank: int, hit: "Hit", identifier: object, options: argparse.Namespace) -> None:
    if options.json:
        record = hit_record(rank, hit)
        if options.queries is not None:
            record = {"id": identifier, **record}
        print_json(record)
        return
    chunk = hit.chunk
    prefix = "" if options.queries is None else f"{show_hidden(str(identifier))}\t"
    name = f"  {chunk.symbol}" if chunk.symbol else ""
    line = f"{hit.score:.3f}  {chunk.path}:{chunk.start_line}-{chunk.end_line}{name}"
    print(f"{prefix}{show_on_one_line(line)}")


def print_json(record: dict[str, Any]) -> None:
    """Print one line of JSON; what the terminal cannot show, or obeys, is escaped in it."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    line = json.dumps(record, ensure_ascii=encoding != "utf8")
    print(HIDDEN.sub(lambda run: json.dumps(run[0]).strip('"'), line))


def _read_queries(file: str) -> Iterator[tuple[object, str]]:
    """Read `{"id": …, "query": …}` lines; a bad one is refused with its number."""
    from data_tools.text import split_lines
    from retrieval.search import check_question

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8-sig")
    except OSError as error:
        raise QuestionError(f"cannot read {file} ({error.strerror}); check its name") from error
    except UnicodeDecodeError as error:
        raise QuestionError(f"{file} is not UTF-8 text; save it as that") from error
    for number, line in enumerate(split_lines(text), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            identifier, query = record["id"], record["query"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise QuestionError(f'{file}:{number}: not a {{"id": …, "query": …}} object') from error
        if not isinstance(query, str):
            raise QuestionError(f"{file}:{number}: `query` is not text")
        try:
            yield identifier, check_question(query)
        except QuestionError as error:
            raise QuestionError(f"{file}:{number}: {error}") from error


def run_status(options: argparse.Namespace) -> None:
    """Say what an index holds."""
    from app.status import print_status

    print_status(
        options.index,
        offline=options.offline,
        list_skipped=options.skipped,
        as_json=options.json,
        verify=options.verify,
    )


def run_flatten(options: argparse.Namespace) -> None:
    """Write the flattened corpus."""
    from app.progress import ProgressBar
    from data_tools.flatten import flatten

    with ProgressBar() as bar:
        for report in flatten(options.repos, Path(options.out), report=bar.say):
            if report.notice:
                bar.say(report.notice)
            print(f"{report.folder}: {count(report.files, 'file')}, {report.skipped:,} skipped")
