"""Bad input to the command line: one line that names the fix, exit code 1, nothing half-written.

Long because it is one list: what may be typed, and what is then said.
"""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from app.cli import main
from retrieval import CodeIndex, Progress
from retrieval.embed import packaged_folder
from retrieval.generations import CURRENT, FORMAT, MANIFEST, current_generation
from tests.conftest import TINY_FILES
from tests.data_tools.git_server import GitServer, serve_git
from tests.git_repositories import MakeRepo, commit_files, make_repository, run_git
from tests.stub_openai import Fault, StubOpenAI

CODEQA = Path(sys.executable).with_name("codeqa")
PROGRESS = re.compile("opening |starting afresh: |words can be searched now|.*fetching the whole")

Fails = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command that must fail; return the one line that it says, without its prefix."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        *progress, line = captured.err.splitlines()
        assert all(PROGRESS.match(step) for step in progress), progress
        assert line.startswith("codeqa: ") and line.isprintable()
        return line.removeprefix("codeqa: ")

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with serve_git(tmp_path) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


def assert_nothing_was_written(folder: Path) -> None:
    assert not folder.exists() or [path.name for path in folder.iterdir()] == ["LOCK"]


@pytest.mark.usefixtures("private_allowed")
def test_a_url_that_does_not_exist(fails: Fails, server: GitServer, folder: Path) -> None:
    url = server.url("none")
    message = fails("index", url, "--index", folder)
    assert message.startswith(f"{url} is neither a git repository nor a documentation site")
    assert "check its spelling" in message
    assert_nothing_was_written(folder)


def test_a_file_url_that_does_not_exist(fails: Fails, tmp_path: Path, folder: Path) -> None:
    message = fails("index", (tmp_path / "none").as_uri(), "--index", folder)
    assert "does not exist" in message and "check" in message
    assert_nothing_was_written(folder)


@pytest.mark.usefixtures("private_allowed")
def test_a_url_that_needs_credentials(
    fails: Fails, server: GitServer, tiny_repo: Path, folder: Path
) -> None:
    server.login = "ada:right"
    message = fails("index", server.url(tiny_repo.name), "--index", folder)
    assert "needs credentials" in message and "GIT_TOKEN" in message
    message = fails("index", server.url(tiny_repo.name, "ada:wrong-s3cret"), "--index", folder)
    assert "GIT_TOKEN" in message and "s3cret" not in message
    assert_nothing_was_written(folder)


def test_no_network(fails: Fails, folder: Path) -> None:
    message = fails("index", "https://nonexistent.invalid/x", "--index", folder)
    assert message == (
        "cannot reach https://nonexistent.invalid/x; check its spelling and the network"
    )
    assert_nothing_was_written(folder)


@pytest.mark.usefixtures("private_allowed")
def test_a_host_where_nothing_listens(fails: Fails, folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        assert f"{url} does not answer; check the address" in fails("index", url, "--index", folder)


def test_a_server_of_this_machine_is_asked_only_with_the_option(
    fails: Fails, server: GitServer, tiny_repo: Path, tmp_path: Path
) -> None:
    words = ("flatten", server.url(tiny_repo.name), "--out", tmp_path / "out")
    assert "127.0.0.1 is a private address" in (message := fails(*words))
    assert "--allow-private (CODEQA_ALLOW_PRIVATE=1)" in message and not server.logins
    assert main([*map(str, words), "--allow-private"]) == 0


@pytest.mark.parametrize("as_url", [False, True])
def test_an_empty_repository(fails: Fails, tmp_path: Path, folder: Path, as_url: bool) -> None:
    (tmp_path / "empty").mkdir()
    run_git(tmp_path / "empty", "init", "--quiet")
    location = (tmp_path / "empty").as_uri() if as_url else tmp_path / "empty"
    message = fails("index", location, "--index", folder)
    assert "no commits" in message and ("push" in message or "commit something" in message)
    assert_nothing_was_written(folder)


def test_a_repository_without_text(fails: Fails, make_repo: MakeRepo, folder: Path) -> None:
    repo = make_repo({"logo.png": b"\x89PNG", "empty.py": ""})
    message = fails("index", repo, "--index", folder)
    assert "holds no text to index (files skipped: 2); check that it is the right" in message
    assert_nothing_was_written(folder)


@pytest.mark.parametrize("ref", ["none", "f" * 40, "1234567"])
@pytest.mark.parametrize("as_url", [False, True])
def test_a_commit_that_is_not_there(
    fails: Fails, tiny_repo: Path, folder: Path, ref: str, as_url: bool
) -> None:
    location = tiny_repo.as_uri() if as_url else str(tiny_repo)
    message = fails("index", f"{location}@{ref}", "--index", folder)
    assert f"has no branch, tag or commit '{ref}'" in message
    assert_nothing_was_written(folder)


@pytest.mark.parametrize(
    "spec", ["", " ", "-x", "ftp://host/x", "ext::sh -c id", "https://", "no/x"]
)
def test_what_is_no_repository(fails: Fails, folder: Path, spec: str) -> None:
    assert fails("index", "--index", folder, "--", spec)
    assert_nothing_was_written(folder)


def test_one_bad_repository_of_two(
    fails: Fails, tiny_repo: Path, tmp_path: Path, folder: Path
) -> None:
    assert "does not exist" in fails("index", tiny_repo, tmp_path / "none", "--index", folder)
    assert_nothing_was_written(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index made with the packaged model; its words alone, so that it is made quickly."""

    def stop(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            raise KeyboardInterrupt

    base = tmp_path_factory.mktemp("made")
    repo = make_repository(base / "limits", TINY_FILES)
    with pytest.raises(KeyboardInterrupt):
        CodeIndex.build([str(repo)], base / "index", report=stop)
    return base / "index"


@pytest.fixture
def whole(made: Path, folder: Path) -> Path:
    """A copy of that index, to be spoilt."""
    shutil.copytree(made, folder)
    return folder


@pytest.mark.parametrize("command", ["search x", "ask x", "status", "index"])
def test_no_index(fails: Fails, tmp_path: Path, command: str) -> None:
    for where in (tmp_path / "none", tmp_path):
        message = fails(*command.split(), "--index", where)
        assert message.startswith(f"there is no index in {where}; run `codeqa index` first")


@pytest.mark.parametrize("command", ["search x", "ask x", "status"])
@pytest.mark.parametrize("name", [CURRENT, MANIFEST, "chunks.sqlite", "lexical/meta.json"])
def test_a_damaged_index(fails: Fails, whole: Path, command: str, name: str) -> None:
    file = (whole if name == CURRENT else current_generation(whole)) / name
    data = file.read_bytes()
    flipped = bytes(
        [*data[: len(data) // 2], data[len(data) // 2] ^ 8, *data[len(data) // 2 + 1 :]]
    )
    for content in (data[: len(data) // 2], b"", flipped):
        file.write_bytes(content)
        message = fails(*command.split(), "--index", whole)
        assert f"the index in {whole} is damaged" in message
        assert f"run `codeqa index REPO --index {whole}` again" in message


def test_damaged_vectors(fails: Fails, tiny_repo: Path, folder: Path) -> None:
    CodeIndex.build([str(tiny_repo)], folder).close()
    file = current_generation(folder) / "vectors.faiss"
    file.write_bytes(file.read_bytes()[:-1])
    message = fails("search", "x", "--index", folder)
    assert "is damaged (vectors.faiss is not" in message and "again" in message


def test_an_index_of_another_format(fails: Fails, whole: Path) -> None:
    file = current_generation(whole) / MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": FORMAT + 1}))
    message = fails("search", "x", "--index", whole)
    assert f"has format {FORMAT + 1}, this codeqa reads {FORMAT}; run `codeqa index" in message


def test_an_index_of_another_embedding_model(
    fails: Fails, tiny_repo: Path, tmp_path: Path, folder: Path
) -> None:
    model = tmp_path / "tuned"
    shutil.copytree(packaged_folder(), model)
    options = ("--index", folder)
    assert main(["index", str(tiny_repo), *map(str, options), "--embedder", str(model)]) == 0
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-2:] = b"\0\0"  # trained on
    (model / "model.safetensors").write_bytes(data)
    message = fails("search", "token bucket", *options)
    assert f"was made with {model} (" in message
    assert f"run `codeqa index --index {folder} --embedder {model}` to make it anew" in message
    assert main(["index", *map(str, options), "--embedder", str(model)]) == 0
    assert main(["search", "token bucket", *map(str, options)]) == 0
    shutil.rmtree(model)
    message = fails("search", "token bucket", *options)
    assert "is no folder and cannot be fetched" in message


@pytest.mark.parametrize("embedder", ["no-such-model", "nobody/nothing", "/none"])
def test_an_embedding_model_that_is_not_there(
    fails: Fails, tiny_repo: Path, folder: Path, embedder: str
) -> None:
    code = f"import sys; from app.cli import main; sys.exit(main({['index', str(tiny_repo)]} + " + (
        f"['--index', {str(folder)!r}, '--embedder', {embedder!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"codeqa: {embedder} is no folder and cannot be fetched from the Hugging Face hub; "
        "check the name and the network\n"
    )
    assert_nothing_was_written(folder)


def test_a_folder_that_cannot_be_written(fails: Fails, tiny_repo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for where in (tmp_path / "file", tmp_path / "file" / "index"):
        message = fails("index", tiny_repo, "--index", where)
        assert f"cannot write to {where}" in message and "choose another --index" in message
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk(fails: Fails, tiny_repo: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        message = fails("index", tiny_repo, "--index", disk / "index")
        assert message.startswith("the disk is full: 0 MB are free for")
        assert "free some space" in message
        assert_nothing_was_written(disk / "index")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


QUESTIONS = {"": "is empty", " \t\n": "is empty", "x" * 100_000: "has 100,000 characters"}


@pytest.mark.parametrize(("question", "reason"), QUESTIONS.items(), ids=["none", "blank", "long"])
@pytest.mark.parametrize("command", ["search", "ask"])
def test_a_question_that_cannot_be_searched_for(
    fails: Fails, whole: Path, command: str, question: str, reason: str
) -> None:
    assert f"the question {reason}" in fails(command, question, "--index", whole)


@pytest.mark.parametrize("command", ["search", "ask"])
def test_a_question_that_is_not_unicode(fails: Fails, whole: Path, command: str) -> None:
    assert "not valid Unicode; retype it" in fails(command, "\udcff\ud800", "--index", whole)
    done = subprocess.run(
        [os.fsencode(CODEQA), b"search", b"where is \xff\xfe?", b"--index", os.fsencode(whole)],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"codeqa: the question is not valid Unicode; retype it as text\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", 'not a {"id": …, "query": …} object'),
        ("[]", 'not a {"id": …, "query": …} object'),
        ('"text"', 'not a {"id": …, "query": …} object'),
        ('{"id": 1}', 'not a {"id": …, "query": …} object'),
        ('{"query": "x"}', 'not a {"id": …, "query": …} object'),
        ("[" * 100_000, 'not a {"id": …, "query": …} object'),
        ('{"id": ' + "9" * 5_000 + ', "query": "x"}', 'not a {"id": …, "query": …} object'),
        ('{"id": 1, "query": 2}', "`query` is not text"),
        ('{"id": 1, "query": " "}', "the question is empty"),
        ('{"id": 1, "query": "\\ud800"}', "the question is not valid Unicode"),
        ('{"id": 1, "query": "' + "x" * 30_000 + '"}', "the question has 30,000 characters"),
    ],
    ids=lambda text: text[:20],
)
def test_a_bad_line_of_queries_is_named_before_anything_is_printed(
    fails: Fails, whole: Path, tmp_path: Path, line: str, problem: str
) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"id": 1, "query": "token"}\n\n' + line + "\n", "utf-8")
    message = fails("search", "--queries", file, "--json", "--index", whole)
    assert message.startswith(f"{file}:3: {problem}")


def test_queries_that_cannot_be_read(
    fails: Fails, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--index", whole, "--queries")
    message = fails("search", *options, tmp_path / "none")
    assert message == f"cannot read {tmp_path / 'none'} (No such file or directory); check its name"
    assert "(Is a directory)" in fails("search", *options, tmp_path)
    assert fails("search", *options, "").startswith("cannot read ")
    (tmp_path / "latin").write_bytes(b'{"id": 1, "query": "caf\xe9"}')
    assert "is not UTF-8 text; save it as that" in fails("search", *options, tmp_path / "latin")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))
    assert "- is not UTF-8 text" in fails("search", *options, "-")


@pytest.mark.parametrize("command", ["search", "ask"])
def test_a_filter_that_names_nothing(fails: Fails, whole: Path, command: str) -> None:
    options = (command, "token", "--index", whole)
    assert fails(*options, "--repo", "x") == (
        "the index holds no repository 'x'; choose from: limits"
    )
    assert "there is no language 'pyton'; choose from: " in fails(*options, "--language", "pyton")
    assert "'!' is not a pattern for paths" in fails(*options, "--path", "!")
    assert "no repository '\\udcff'" in fails(*options, "--repo", "\udcff")


def ask(fails: Fails, whole: Path, *options: object) -> str:
    return fails("ask", "What does TokenBucket do?", "--index", whole, *options)


def test_a_model_server_that_is_not_there(fails: Fails, whole: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        message = ask(fails, whole, "--llm", url)
    assert f"nothing answers at {url}/v1" in message and "start the server" in message


def test_a_model_server_that_is_too_slow(fails: Fails, whole: Path) -> None:
    with StubOpenAI(fault="hang") as stub:
        message = ask(fails, whole, "--llm", stub.url, "--timeout", "0.2")
    assert "sent nothing for too long" in message


@pytest.mark.parametrize(
    ("fault", "problem"),
    [(500, "look at the server's log"), ("unauthorized", "set OPENAI_API_KEY")],
)
def test_a_model_server_that_fails(fails: Fails, whole: Path, fault: Fault, problem: str) -> None:
    with StubOpenAI(fault=fault) as stub:
        assert problem in ask(fails, whole, "--llm", stub.url)


def test_a_model_that_is_not_served(fails: Fails, whole: Path) -> None:
    with StubOpenAI() as stub:
        message = ask(fails, whole, "--llm", stub.url, "--model", "huge")
    assert "does not serve huge: choose with --model: stub-model" in message


@pytest.mark.parametrize("llm", ["http://", "http://127.0.0.1:x", "/no/such/model"])
def test_a_model_that_is_no_model(fails: Fails, whole: Path, llm: str) -> None:
    assert ask(fails, whole, "--llm", llm)


def test_a_second_indexing_of_the_same_folder(fails: Fails, whole: Path, tiny_repo: Path) -> None:
    with FileLock(whole / "LOCK"):
        message = fails("index", tiny_repo, "--index", whole)
    assert "another `codeqa index` is writing" in message and "wait for it to finish" in message


def test_a_failed_update_leaves_the_index_as_it_was(
    fails: Fails, whole: Path, tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit_files(tiny_repo, {"new.py": "quasar = 1\n"})
    before = {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()}
    assert "no branch, tag or commit" in fails("index", f"{tiny_repo}@none", "--index", whole)
    assert before == {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()}
    assert main(["search", "TokenBucket", "-k", "1", "--index", str(whole)]) == 0
    assert "limits/bucket.py" in capsys.readouterr().out
