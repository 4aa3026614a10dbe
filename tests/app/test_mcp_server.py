"""`codeqa mcp`, as agents meet it: the SDK's client, a child process, real pipes and real HTTP."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from app.cli import main
from app.mcp_tools import MAX_CHARS, MAX_LINES, CodeTools
from retrieval import CodeIndex
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, make_repository, run_git
from tests.stub_openai import StubOpenAI

CODEQA = Path(sys.executable).with_name("codeqa")
TOOLS = ["search_code", "read_lines", "ask", "list_repositories"]
LONG_FILES = {
    "long.txt": "".join(f"line {number}\n" for number in range(1, 1_201)),
    "wide.md": "".join(f"{'wide ' * 800}{number}\n" for number in range(1, 21)),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose commit is known to be on GitHub."""
    folder = make_repository(tmp_path_factory.mktemp("repos") / "limits", TINY_FILES | LONG_FILES)
    run_git(folder, "remote", "add", "origin", "https://github.com/ada/limits.git")
    run_git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


@pytest.fixture(scope="module")
def index(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its index, made with the packaged model, as a user's is."""
    folder = tmp_path_factory.mktemp("index")
    CodeIndex.build([str(repo)], folder).close()
    return folder


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """An event loop for the clients, in a thread of its own."""
    with start_blocking_portal() as portal:
        yield portal


class Agent:
    """A connected client, called from tests that know nothing of event loops."""

    def __init__(self, portal: BlockingPortal, server: StdioServerParameters | str) -> None:
        self.portal = portal
        self.client = Client(server, message_handler=self._hear)
        self.strays: list[Exception] = []  # what the server wrote that is no message

    async def _hear(self, message: object) -> None:
        if isinstance(message, Exception):
            self.strays.append(message)

    def start(self, tool: str, **arguments: Any) -> "Future[CallToolResult]":
        """Call a tool, and go on."""
        return self.portal.start_task_soon(self.client.call_tool, tool, arguments)

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a tool that succeeds returns."""
        result = self.start(tool, **arguments).result()
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    def fail(self, tool: str, **arguments: Any) -> str:
        """What a tool that fails says."""
        result = self.start(tool, **arguments).result()
        assert result.is_error
        [content] = result.content
        assert content.type == "text" and "\n" not in content.text
        return content.text


@contextmanager
def connected(portal: BlockingPortal, server: StdioServerParameters | str) -> Iterator[Agent]:
    """Connect to a server: one to start, or one at an address."""
    agent = Agent(portal, server)
    with portal.wrap_async_context_manager(agent.client):
        yield agent


@pytest.fixture(scope="module")
def stub() -> Iterator[StubOpenAI]:
    """The language model behind `ask`."""
    reply = "A `TokenBucket` gains tokens, a `LeakyBucket` does not [1:L6-L7]. " * 10
    with StubOpenAI(reply=reply, delta_chars=20) as stub:
        yield stub


@pytest.fixture(scope="module")
def agent(index: Path, portal: BlockingPortal, stub: StubOpenAI) -> Iterator[Agent]:
    """Connected to `codeqa mcp` over its standard input and output."""
    command = ["mcp", "--index", str(index), "--llm", stub.url]
    server = StdioServerParameters(command=str(CODEQA), args=command, env=dict(os.environ))
    with connected(portal, server) as agent:
        yield agent


def test_agents_are_told_what_there_is_and_that_nothing_is_changed(agent: Agent) -> None:
    assert "Search here before" in (agent.client.instructions or "")
    tools = agent.portal.call(agent.client.list_tools).tools
    assert [tool.name for tool in tools] == TOOLS
    for tool in tools:
        assert tool.description and not re.search(r"\n +", tool.description)
        assert tool.annotations is not None and tool.annotations.read_only_hint
        assert tool.output_schema is not None and tool.output_schema["type"] == "object"
        for name, parameter in tool.input_schema["properties"].items():
            assert parameter["description"], f"{tool.name}: {name}"
    assert "context" not in tools[TOOLS.index("ask")].input_schema["properties"]


def test_a_search_finds_lines_with_a_link_to_them(agent: Agent, repo: Path) -> None:
    commit = run_git(repo, "rev-parse", "HEAD").strip()
    found = agent.call("search_code", question="How does a client know how long to wait?", k=3)
    assert len(found["passages"]) == 3 and not found["words_only"]
    for passage in found["passages"]:
        assert (passage["repository"], passage["commit"]) == ("limits", commit)
        lines = (TINY_FILES | LONG_FILES)[passage["path"]].splitlines(keepends=True)
        start, end = passage["start_line"], passage["end_line"]
        assert passage["text"] == "".join(lines[start - 1 : end])
        place = f"https://github.com/ada/limits/blob/{commit}/{passage['path']}"
        assert passage["url"].startswith(place) and passage["url"].endswith(f"#L{start}-L{end}")
    scores = [passage["score"] for passage in found["passages"]]
    assert scores == sorted(scores, reverse=True)


def test_a_search_may_be_narrowed(agent: Agent) -> None:
    def paths(**filters: str) -> set[str]:
        found = agent.call("search_code", question="token bucket", k=20, **filters)
        return {passage["path"] for passage in found["passages"]}

    assert paths(language="typescript") == {"web/client.ts"}
    assert paths(path="/limits/", repository="limits") == {
        "limits/bucket.py",
        "limits/middleware.py",
    }


def test_lines_are_read_with_their_numbers(agent: Agent) -> None:
    lines = agent.call(
        "read_lines", repository="limits", path="limits/bucket.py", start_line=4, end_line=6
    )
    assert lines["text"] == "4\t\n5\t\n6\tclass TokenBucket:"
    assert (lines["start_line"], lines["end_line"]) == (4, 6)
    assert lines["total_lines"] == len(TINY_FILES["limits/bucket.py"].splitlines())
    assert lines["url"].endswith("/limits/bucket.py#L4-L6")
    whole = agent.call("read_lines", repository="limits", path="config/limits.yaml")
    assert [line.partition("\t")[2] for line in whole["text"].split("\n")] == TINY_FILES[
        "config/limits.yaml"
    ].splitlines()


def test_no_more_lines_are_read_than_an_agent_can_take(agent: Agent) -> None:
    read = agent.call("read_lines", repository="limits", path="long.txt", end_line=9_999)
    assert (read["end_line"], read["total_lines"]) == (MAX_LINES, 1_200)
    rest = agent.call(
        "read_lines", repository="limits", path="long.txt", start_line=MAX_LINES + 600
    )
    assert rest["text"].startswith("1100\tline 1100\n") and rest["end_line"] == 1_200
    wide = agent.call("read_lines", repository="limits", path="wide.md")
    assert wide["end_line"] == MAX_CHARS // 4_004 and len(wide["text"]) <= MAX_CHARS + 10


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("search_code", {}, "question: Field required"),
        ("search_code", {"question": " "}, "the question is empty"),
        ("search_code", {"question": "bucket", "k": 21}, "k: Input should be less than"),
        ("search_code", {"question": "bucket", "repository": "nope"}, "choose from: limits"),
        ("search_code", {"question": "bucket", "language": "klingon"}, "no language 'klingon'"),
        ("ask", {"question": "bucket", "repository": "nope"}, "choose from: limits"),
        ("read_lines", {"repository": "nope", "path": "README.md"}, "choose from: limits"),
        ("read_lines", {"repository": "limits", "path": "nope.py"}, "search_code"),
        ("read_lines", {"repository": "limits", "path": "../../etc/passwd"}, "no indexed file"),
        ("read_lines", {"repository": "limits", "path": ".git/config"}, "no indexed file"),
        ("read_lines", {"repository": "limits", "path": "long.txt", "start_line": 0}, "start_line"),
        ("read_lines", {"repository": "limits", "path": "long.txt", "start_line": 1201}, "1,200"),
        (
            "read_lines",
            {"repository": "limits", "path": "long.txt", "start_line": 9, "end_line": 8},
            "must not be before",
        ),
        ("write_lines", {}, "Unknown tool"),
    ],
)
def test_a_call_that_cannot_be_answered_says_why(
    agent: Agent, tool: str, arguments: Mapping[str, Any], problem: str
) -> None:
    assert problem in agent.fail(tool, **arguments)


def test_many_calls_at_once_each_get_their_own_answer(agent: Agent) -> None:
    words = ["TokenBucket", "fetchWithRetry", "RateLimitMiddleware", "seconds_until"] * 4
    started = [agent.start("search_code", question=word, k=1) for word in words]
    started += [agent.start("ask", question=f"What is {word} for?") for word in words[:4]]
    results = [call.result().structured_content or {} for call in started]
    for word, result in zip(words, results[: len(words)], strict=True):
        assert word in result["passages"][0]["text"]
    assert all("TokenBucket" in result["text"] for result in results[len(words) :])


def test_repositories_are_listed(agent: Agent, repo: Path) -> None:
    listed = agent.call("list_repositories")
    [record] = listed["repositories"]
    assert (record["name"], record["location"]) == ("limits", str(repo))
    assert record["web_url"] == "https://github.com/ada/limits"
    assert record["files"] == sum(record["languages"].values()) == len(TINY_FILES | LONG_FILES)
    assert listed["passages"] > record["files"]


def test_an_answer_comes_with_progress_and_the_lines_that_prove_it(agent: Agent) -> None:
    told: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    question = {"question": "What does TokenBucket do?"}
    call = agent.portal.call(agent.client.call_tool, "ask", question, None, hear)
    answer = call.structured_content
    assert answer is not None and answer["model"] == "stub-model" and not answer["abstained"]
    [citation] = answer["citations"]
    assert citation["marker"] == "[1:L6-L7]" and citation["marker"] in answer["text"]
    assert citation["url"].endswith(f"/{citation['path']}#L6-L7")
    assert told[0][1].startswith("found 8 passages in ")
    steps = [progress for progress, _ in told]
    assert len(steps) > 3 and steps == sorted(set(steps))


def test_the_model_stops_when_the_agent_gives_up(
    agent: Agent, stub: StubOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def give_up() -> None:
        with anyio.move_on_after(1.0):
            await agent.client.call_tool("ask", {"question": "What does TokenBucket do?"})

    monkeypatch.setattr(stub, "delay_s", 0.2)
    agent.portal.call(give_up)
    assert stub.chats[-1].done.wait(10) and stub.chats[-1].closed_early


def test_a_model_that_fails_is_named_and_the_next_question_is_answered(
    agent: Agent, stub: StubOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(stub, "fault", "bad_gateway")
        assert "502" in agent.fail("ask", question="What does TokenBucket do?")
    assert agent.call("ask", question="What does TokenBucket do?")["model"] == "stub-model"


def test_nothing_but_the_protocol_is_written_to_stdout(agent: Agent) -> None:
    agent.call("search_code", question="the model is loaded, and what loads it may print")
    assert agent.strays == []


def test_what_is_indexed_meanwhile_is_found(tmp_path: Path, fake_encoder: FakeEncoder) -> None:
    repo = make_repository(tmp_path / "limits", {"a.py": "def first_name():\n    return 1\n"})
    CodeIndex.build([str(repo)], tmp_path / "index", embedder=fake_encoder).close()
    with CodeIndex.open(tmp_path / "index", embedder=fake_encoder) as index:
        tools = CodeTools(index)
        assert tools.list_repositories().repositories[0].files == 1
        commit = commit_files(repo, {"b.py": "def second_name():\n    return 2\n"})
        CodeIndex.build([str(repo)], tmp_path / "index", embedder=fake_encoder).close()
        [passage] = tools.search_code("second_name", k=1).passages
        assert (passage.path, passage.commit) == ("b.py", commit)
        (tmp_path / "index" / "CURRENT").unlink()
        assert tools.read_lines("limits", "b.py").total_lines == 2  # what is open still answers


@contextmanager
def served(index: Path, *options: str, **environment: str) -> Iterator[str]:
    """Start `codeqa mcp --http` on a free port; the address that it prints."""
    command = [str(CODEQA), "mcp", "--http", "--port", "0", "--index", str(index), *options]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as server:
        try:
            assert server.stderr is not None
            said = server.stderr.readline()
            address = re.search(r"http://\S+/mcp", said)
            assert address, said
            yield address[0]
        finally:
            server.terminate()
            server.communicate(timeout=30)


def test_over_http_the_tools_are_the_same(index: Path, portal: BlockingPortal) -> None:
    with served(index) as url, connected(portal, url) as agent:
        assert [tool.name for tool in portal.call(agent.client.list_tools).tools] == TOOLS
        calls = [agent.start("search_code", question="TokenBucket", k=1) for _ in range(4)]
        for call in calls:
            found = call.result().structured_content or {}
            assert found["passages"][0]["path"] == "limits/bucket.py"
        assert "no indexed file" in agent.fail("read_lines", repository="limits", path="no")
        quoted = agent.call("ask", question="Which class holds tokens and gains a rate a second?")
        assert "TokenBucket" in quoted["text"] and quoted["model"] is None
        assert quoted["citations"] and not quoted["abstained"]
        refused = agent.call("ask", question="Which Kubernetes operator provisions volumes?")
        assert refused["abstained"]
        # A page that a browser was lured to by another name, or that another site serves.
        assert post(url, {"Host": "evil.example:80"}) == 421
        assert post(url, {"Origin": "https://evil.example"}) == 403
        assert post(url, {}) == 200


def post(url: str, headers: Mapping[str, str]) -> int:
    """The status of a first message."""
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    accept = {"Accept": "application/json, text/event-stream"}
    return httpx2.post(url, json=message, headers={**accept, **headers}).status_code


def test_with_a_token_only_those_who_send_it_are_answered(
    index: Path, portal: BlockingPortal
) -> None:
    async def list_with(token: str) -> list[str]:
        bearer = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=bearer) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            return [tool.name for tool in (await client.list_tools()).tools]

    options = ("--host", "0.0.0.0", "--allow-host", "code.example")
    with served(index, *options, CODEQA_TOKEN="s3cret-of-the-team") as url:
        assert portal.call(list_with, "s3cret-of-the-team") == TOOLS
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer guess"}, 401),
            ({"Authorization": "Bearer s3cret-of-the-team"}, 200),
            ({"Authorization": "Bearer s3cret-of-the-team", "Host": "code.example"}, 200),
            ({"Authorization": "Bearer s3cret-of-the-team", "Host": "evil.example"}, 421),
        ):
            assert post(url, headers) == status


def test_without_a_token_others_are_not_served(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CODEQA_TOKEN", raising=False)
    assert main(["mcp", "--index", str(index), "--http", "--host", "0.0.0.0"]) == 1
    assert "set CODEQA_TOKEN to a secret" in capsys.readouterr().err


def test_without_an_index_it_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mcp", "--index", str(tmp_path)]) == 1
    assert "run `codeqa index" in capsys.readouterr().err
