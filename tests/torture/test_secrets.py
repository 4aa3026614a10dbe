"""Keys planted in a repository, and where they must not be found again: in anything made of it."""

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.cli import main
from app.conversation_markdown import conversation_markdown
from app.desk import Desk, Question
from app.evidence import evidence_html
from app.file_view import file_router
from app.highlight import highlight_lines
from app.history import History
from app.mcp_tools import CodeTools
from app.models import open_models
from app.render_exchange import exchange_html
from app.workspace import Workspace
from benchmarks.planted_secrets import KINDS, Planted, plant_decoys, plant_secrets
from data_tools.convert import ConvertSettings, convert
from data_tools.documents import open_corpus
from data_tools.flatten import flatten
from data_tools.mds_reader import ShardFolder
from data_tools.secrets import redact
from data_tools.tokenizer import load_tokenizer
from retrieval.index import CodeIndex
from tests.conftest import TINY_FILES
from tests.data_tools.corpora import decode, tiny_tokenizer
from tests.fakes import FakeEncoder
from tests.git_repositories import head_of, make_repository
from tests.stub_openai import StubOpenAI
from tests.torture.conftest import WHOLE, Cases, Tally

RECALL = 0.9
SHOWN_CHARS = 12  # so many of a secret in a row must not be left
WAIT_S = 60.0


def is_left(planted: Planted, text: str) -> bool:
    """Tell whether some of a secret is in a text, folded in any way."""
    secret, text = (re.sub(r"\\n|\s", "", each) for each in (planted.secret, text))
    shown = min(SHOWN_CHARS, len(secret))
    return any(secret[at : at + shown] in text for at in range(0, len(secret) - shown + 1, shown))


def test_nine_of_ten_planted_secrets_are_found_and_nothing_else(cases: Cases, tally: Tally) -> None:
    planted = plant_secrets(seed=11, each=cases(4, 17))
    redacted = [redact(each.text, each.path).text for each in planted]
    missed = [each for each, text in zip(planted, redacted, strict=True) if is_left(each, text)]
    decoys = [decoy for seed in range(cases(2, 20)) for decoy in plant_decoys(seed)]
    alarms = [decoy for decoy in decoys if redact(decoy.text, decoy.path).kinds]
    found = len(planted) - len(missed)
    recall, precision = found / len(planted), found / (found + len(alarms))
    tally(
        "secrets planted",
        planted=len(planted),
        kinds=len(KINDS),
        recall=f"{recall:.3f}",
        precision=f"{precision:.3f}",
        decoys=len(decoys),
        false_alarms=len(alarms),
        missed=", ".join(sorted({each.kind for each in missed})),
    )
    assert len(planted) >= 100 and len(KINDS) >= 15
    assert recall >= RECALL, Counter(each.kind for each in missed)
    assert precision >= RECALL, alarms


@pytest.fixture(scope="module")
def planted() -> list[Planted]:
    """Secrets that are found: what is not found cannot be kept from anything."""
    each_one = plant_secrets(seed=12, each=4 if WHOLE else 1)
    return [each for each in each_one if not is_left(each, redact(each.text, each.path).text)]


@pytest.fixture(scope="module")
def repository(planted: Sequence[Planted], tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {each.path: each.text for each in planted}
    files |= {f"keys/{number}/.env": each.text for number, each in enumerate(planted[:10])}
    files |= TINY_FILES
    return make_repository(tmp_path_factory.mktemp("planted") / "service", files)


@pytest.fixture(scope="module")
def index(repository: Path) -> Path:
    folder = repository.parent / "index"
    CodeIndex.build([str(repository)], folder, embedder=FakeEncoder()).close()
    return folder


@pytest.fixture
def opened(index: Path) -> Iterator[CodeIndex]:
    with CodeIndex.open(index, embedder=FakeEncoder()) as opened:
        yield opened


def check(
    planted: Sequence[Planted], texts: Iterable[str | bytes], tally: Tally, what: str
) -> None:
    """Assert that none of the secrets is in any of the texts."""
    whole = [text if isinstance(text, str) else text.decode("latin-1") for text in texts]
    together = "\0".join(whole)
    left = [each for each in planted if is_left(each, together)]
    tally(f"secrets in {what}", looked_for=len(planted), bytes=len(together), found=len(left))
    assert together and not left, [(each.kind, each.path) for each in left]


def files_below(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()]


def test_no_byte_of_the_index_holds_a_secret(planted, index: Path, opened, tally: Tally) -> None:
    check(planted, files_below(index), tally, "the files of an index")
    texts = [f"{chunk.path}\n{chunk.symbol}\n{chunk.text}" for chunk in opened.chunks()]
    check(planted, texts, tally, "its chunks")
    paths = {chunk.path for chunk in opened.chunks()}
    told = {found.path for found in opened.redacted()}
    assert told == paths & {each.path for each in planted}
    [record] = opened.manifest.repositories
    assert sum(record.redacted.values()) >= len(told)
    reasons = Counter(file.reason for file in opened.skipped())
    assert reasons["holds keys (by its name)"] >= 10


def test_no_dataset_holds_a_secret(planted, repository: Path, tmp_path: Path, tally: Tally) -> None:
    flatten([str(repository)], tmp_path / "flat")
    check(planted, files_below(tmp_path / "flat"), tally, "flattened text")
    raw = tmp_path / "raw"
    for number, each in enumerate(planted):
        raw.mkdir(exist_ok=True)
        (raw / f"{number}.txt").write_text(each.text * 2)
    corpus = open_corpus("txt", [str(tmp_path / "flat"), str(raw)])
    tokenizer = tiny_tokenizer(tmp_path / "tokenizer")
    shares = {"train": 0.8, "validation": 0.2}
    out = tmp_path / "mds"
    convert(corpus, str(out), ConvertSettings(tokenizer, 64, shares=shares), name="mds")
    ids = [
        token
        for split in shares
        for sample in ShardFolder(str(out / split)).samples()
        for token in sample["input_ids"][: sample["length"]]
    ]
    text = decode(ids, load_tokenizer(tokenizer))
    assert "[redacted: " in text
    check(planted, [text, *files_below(out)], tally, "MDS shards, read back")
    assert main(["qa-pairs", str(repository), "--out", str(tmp_path / "pairs")]) == 0
    check(planted, files_below(tmp_path / "pairs"), tally, "question-answer pairs")


def test_no_prompt_answer_history_page_or_log_holds_a_secret(
    planted,
    index: Path,
    tmp_path: Path,
    cases: Cases,
    tally: Tally,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Keys are typed into the question, are in what is indexed, and come out of the model."""
    caplog.set_level(logging.INFO)
    some = [each for each in planted if "\n" not in each.secret][::4]
    spoken = "\n\n".join(f"The {each.kind} is:\n{each.text}" for each in planted)
    file = tmp_path / "conversations.sqlite"
    workspace = Workspace(index, embedder=FakeEncoder())
    with (
        StubOpenAI(spoken, delta_chars=7) as stub,
        closing(History(file, scope="index")) as history,
        closing(Desk(workspace, open_models([stub.url]), history)) as desk,
    ):
        conversation: str | None = None
        shown = []
        for each in some[: cases(1, 4)]:
            text = f"What are the settings of the service? I use this:\n{each.text}"
            asked = Question(text, models=("stub-model",), k=20)
            conversation, _ = desk.ask("ada", asked, conversation)
            end_s = time.monotonic() + WAIT_S
            while any(draft.running for draft in desk.snapshot("ada", conversation)[-1].drafts):
                shown.append(str(desk.snapshot("ada", conversation)[-1].drafts))
                assert time.monotonic() < end_s, "the answer does not end"
                time.sleep(0.01)
        assert conversation
        exchanges = desk.snapshot("ada", conversation)
        assert all(draft.answer for exchange in exchanges for draft in exchange.drafts)
        prompts = [json.dumps(request.body, ensure_ascii=False) for request in stub.requests]
    check(planted, prompts, tally, "prompts")
    check(planted, shown, tally, "answers while they are written")
    check(planted, [repr(exchanges)], tally, "answers")
    check(planted, [path.read_bytes() for path in tmp_path.glob("conv*")], tally, "the history")
    check(planted, [conversation_markdown("Settings", exchanges)], tally, "exported Markdown")
    pages = [exchange_html(exchange, n) for n, exchange in enumerate(exchanges)]
    pages += [evidence_html(exchanges, lambda chunk: highlight_lines(chunk.text, chunk.language))]
    check(planted, [re.sub(r"<[^>]*>", "", page) for page in pages], tally, "the page's HTML")
    check(planted, [caplog.text or "nothing"], tally, "logs")


def test_no_tool_of_agents_and_no_view_of_a_file_holds_a_secret(
    planted, index: Path, repository: Path, opened: CodeIndex, tally: Tally
) -> None:
    tools = CodeTools(opened)
    paths = sorted({chunk.path for chunk in opened.chunks()})
    results = [tools.read_lines("service", path).text for path in paths]
    results += [tools.search_code(each.kind, 20).model_dump_json() for each in planted[::10]]
    check(planted, results, tally, "what agents are given")
    app = FastAPI()
    app.include_router(file_router(Workspace(index, [str(repository)], FakeEncoder())))
    with TestClient(app) as client:
        place = f"/page/file?repo=service&commit={head_of(repository)}&start=1&end=400&path="
        views = ["\n".join(client.get(place + path).json()["lines"]) for path in paths]
    check(planted, [re.sub(r"<[^>]*>", "", view) for view in views], tally, "views of files")


def test_what_the_terminal_is_told_holds_no_secret(
    planted, repository: Path, tmp_path: Path, tally: Tally, capsys: pytest.CaptureFixture[str]
) -> None:
    index = str(tmp_path / "index")
    assert main(["index", str(repository), "--index", index]) == 0
    told = capsys.readouterr().out
    assert re.search(r"\d+ secrets redacted \(", told)
    assert main(["status", "--index", index, "--offline", "--skipped"]) == 0
    assert main(["status", "--index", index, "--offline", "--json"]) == 0
    assert main(["search", "which settings are there?", "--index", index, "--json"]) == 0
    assert main(["ask", "which settings are there?", "--index", index]) == 0
    printed = capsys.readouterr()
    check(planted, [told, printed.out, printed.err], tally, "what the terminal is told")
