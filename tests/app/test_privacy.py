"""No request leaves this machine but to what the user named, however the shell is set up.

Each command runs in a process of its own that may reach nothing but this machine: Python's own
calls are refused and noted, and where `strace` is at hand, what libraries do below Python is, too.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from app.vllm_command import Vllm, vllm_environment
from data_tools.privacy import REPORTING_OFF, stop_reporting
from retrieval.index import CodeIndex
from tests.conftest import TINY_FILES
from tests.git_repositories import make_repository
from tests.stub_embeddings import StubEmbeddings
from tests.stub_openai import StubOpenAI
from tests.training.tiny_encoder import bilingual_files, make_tiny_encoder

NOWHERE = "http://192.0.2.1"  # TEST-NET-1, RFC 5737
QUESTION = "What does the TokenBucket do?"
# What somebody's shell may hold for other programs, and what would tell libraries to be quiet.
SHELL = {
    "LANGSMITH_TRACING": "true",
    "LANGSMITH_TRACING_V2": "true",
    "LANGCHAIN_TRACING": "true",
    "LANGCHAIN_TRACING_V2": "true",
    "LANGSMITH_API_KEY": "lsv2_pt_canary",
    "LANGSMITH_ENDPOINT": NOWHERE,
    "GRADIO_ANALYTICS_ENABLED": "True",
    "HF_HUB_DISABLE_TELEMETRY": "0",
    "DISABLE_SAFETENSORS_CONVERSION": "0",
    "DO_NOT_TRACK": "0",
    "MLFLOW_DISABLE_TELEMETRY": "false",
    "VLLM_NO_USAGE_STATS": "0",
}
QUIET = {"CI", "GITHUB_ACTIONS", "HF_HUB_OFFLINE", "PYTEST_CURRENT_TEST", "PYTEST_VERSION"}
GUARD = """\
import os, sys

HERE = ("127.", "::1", "localhost", "0.0.0.0")

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host and not host.startswith(HERE):
        with open(os.environ["CONTACTED"], "a") as log:
            log.write(f"{event} {host}\\n")
        raise OSError(f"{host} is not to be reached")

sys.addaudithook(refuse)
"""
_TRACED = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')


class Watch:
    """Runs commands and says which hosts they asked."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(GUARD)
        self._calls, self._trace = folder / "calls", folder / "trace"
        inherited = {name: value for name, value in os.environ.items() if name not in QUIET}
        self.environment = {
            **inherited,
            **SHELL,
            "PYTHONPATH": str(folder),
            "CONTACTED": str(self._calls),
            "OMP_NUM_THREADS": "1",
        }
        self._tracer: list[str] = []
        tracer = [shutil.which("strace") or "", "-D", "-f", "-qq", "--seccomp-bpf"]
        tracer += ["-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(self._trace)]
        if tracer[0] and subprocess.run([*tracer, "true"], capture_output=True).returncode == 0:
            self._tracer = tracer

    def command(self, *words: str) -> list[str]:
        return [*self._tracer, sys.executable, "-m", "app.cli", *words]

    def run(self, *words: str) -> str:
        done = subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def start(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        with subprocess.Popen(
            self.command(*words),
            env=self.environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def contacted(self) -> list[str]:
        """What was asked of others so far."""
        calls = self._calls.read_text().split("\n") if self._calls.exists() else []
        trace = self._trace.read_text() if self._tracer else ""
        hosts = (four or six for four, six in _TRACED.findall(trace))
        return [*filter(None, calls), *(h for h in hosts if not h.startswith(("127.", "::1")))]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path / "watch")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def served_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An index whose embedding model is behind a server, as nothing is imported sooner."""
    folder = tmp_path_factory.mktemp("served")
    repository = make_repository(folder / "limits", TINY_FILES)
    with StubEmbeddings() as stub:
        CodeIndex.build([str(repository)], folder / "index", embedder=stub.url).close()
        yield str(folder / "index")


def test_the_watch_sees_what_leaves(watch: Watch) -> None:
    """Without it, the other tests could not fail."""
    call = f"import socket; socket.create_connection(('{NOWHERE[7:]}', 9), 0.2)"
    command = [*watch.command()[:-2], "-c", call]
    assert subprocess.run(command, env=watch.environment, capture_output=True).returncode == 1
    below = (
        "import ctypes, socket; libc = ctypes.CDLL(None); s = socket.socket(); s.setblocking(0);"
    )
    below += "libc.connect(s.fileno(), b'\\2\\0\\0\\x09\\xc0\\0\\2\\1' + bytes(8), 16)"
    subprocess.run([*command[:-1], below], env=watch.environment, check=True)
    seen = watch.contacted()
    assert f"socket.getaddrinfo {NOWHERE[7:]}" in seen
    assert (NOWHERE[7:] in seen) == ("strace" in watch.command()[0])


def test_indexing_contacts_nobody(
    watch: Watch, encoder: Path, tiny_repo: Path, tmp_path: Path
) -> None:
    index = str(tmp_path / "index")
    done = watch.run("index", str(tiny_repo), "--index", index, "--embedder", str(encoder))
    assert "written" in done
    assert watch.contacted() == []


def test_searching_and_asking_contact_nobody_but_the_model(watch: Watch, served_index: str) -> None:
    assert "bucket.py" in watch.run("search", QUESTION, "--index", served_index)
    with StubOpenAI("It holds tokens [1:L1-L1].") as stub:
        assert "tokens" in watch.run("ask", QUESTION, "--index", served_index, "--llm", stub.url)
        (asked,) = stub.chats
    assert watch.contacted() == []
    assert asked.headers["user-agent"] == "codeqa"
    assert not [name for name in asked.headers if name.startswith(("x-stainless", "langsmith"))]


def test_the_page_and_its_api_contact_nobody_but_the_model(
    watch: Watch, served_index: str, tmp_path: Path
) -> None:
    with StubOpenAI("It holds tokens [1:L1-L1].") as stub:
        words = ["chat", "--index", served_index, "--llm", stub.url, "--port", "0", "--no-browser"]
        with watch.start(*words, "--history", str(tmp_path / "history.sqlite")) as process:
            assert process.stderr
            said = ""
            while not (found := re.search(r"Ask at (\S+)", said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            address = found[1].rstrip("/")
            assert "codeqa" in get(f"{address}/")
            body = {"messages": [{"role": "user", "content": QUESTION}]}
            assert "tokens" in get(f"{address}/v1/chat/completions", body)
            time.sleep(1)  # what a thread might report in the background
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert watch.contacted() == []


def get(address: str, body: Mapping[str, Any] | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = Request(address, data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def test_a_coding_agent_s_questions_contact_nobody(watch: Watch, served_index: str) -> None:
    client = {"name": "test", "version": "1"}
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    asked = {"question": QUESTION}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": about},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "ask", "arguments": asked}},
    ]
    with watch.start("mcp", "--index", served_index) as process:
        assert process.stdin and process.stdout
        for message in messages:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            process.stdin.flush()
        while (answer := json.loads(process.stdout.readline())).get("id") != 2:
            pass
        process.stdin.close()
        process.wait(60)
    assert not answer["result"].get("isError") and "TokenBucket" in json.dumps(answer)
    assert watch.contacted() == []


@pytest.mark.skipif(
    os.environ.get("CODEQA_TORTURE") != "whole", reason="takes a minute: part of `make torture`"
)
def test_tuning_the_retriever_contacts_nobody(watch: Watch, encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bilingual"
    folder.mkdir()
    for name, text in bilingual_files().items():
        (folder / name).write_text(text)
    words = ["--embedder", str(encoder), "--minutes", "0.05", "--force"]
    watch.run("tune-retriever", str(folder), "--out", str(tmp_path / "tuned"), *words)
    assert watch.contacted() == []


def test_each_library_takes_its_reports_for_switched_off(watch: Watch) -> None:
    """They read the variables when they are imported, each in its own way."""
    program = """
import json, contextlib, io
from app.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main(["--help"])
from huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY
from langsmith.utils import tracing_is_enabled
from mlflow.telemetry.utils import is_telemetry_disabled
from transformers.utils.import_utils import is_env_variable_true
print(json.dumps({
    "hugging face": not HF_HUB_DISABLE_TELEMETRY,
    "langsmith": bool(tracing_is_enabled()),
    "mlflow": not is_telemetry_disabled(),
    "transformers": not is_env_variable_true("DISABLE_SAFETENSORS_CONVERSION"),
}))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=watch.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [name for name, reports in json.loads(done.stdout).items() if reports] == []
    assert watch.contacted() == []


def test_what_vllm_runs_with_switches_its_reports_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in REPORTING_OFF:
        monkeypatch.setenv(name, SHELL.get(name, "0"))
    stop_reporting()
    environment = vllm_environment(Vllm(Path(sys.executable), on_cpu=True))
    assert REPORTING_OFF.items() <= environment.items()
