"""`codeqa serve`: what is called, what happens when it crashes, and that nothing is left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from app.cli import main, make_parser
from app.parameters import expand_parameters
from app.served_models import Served, ServedAdapter, find_served
from app.serving import serve_for_chat
from app.vllm_command import Vllm, find_vllm, vllm_arguments, vllm_environment
from app.vllm_log import last_error, last_line
from app.vllm_server import MAX_RESTARTS, ServerPlan, VllmServer
from data_tools.errors import CodeQAError, LanguageModelError, PortInUseError
from data_tools.progress import Progress
from tests.fake_vllm import make_fake_vllm
from tests.tiny_model import make_tiny_adapter, make_tiny_model
from training.registry import register_model

GPU = Vllm(Path("/env/bin/python"), on_cpu=False)
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, `tiny`, and an adapter of it, `tuned`."""
    folder = tmp_path_factory.mktemp("models")
    base = make_tiny_model(folder / "tiny")
    make_tiny_adapter(folder / "tuned", base)
    return folder


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a quick server what `codeqa serve` finds."""
    python = make_fake_vllm(tmp_path / "environment")
    monkeypatch.setenv("CODEQA_VLLM_PYTHON", str(python))
    for name in ("VLLM_API_KEY", "OPENAI_API_KEY", "TORCH_COMPILE_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    return python


def plan(python: Path, log: Path, **environment: str) -> ServerPlan:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = vllm_arguments(
        Vllm(python, on_cpu=True), Served("tiny", Path("tiny")), host="127.0.0.1", port=port
    )
    return ServerPlan(words, {**os.environ, **environment}, "127.0.0.1", port, log)


@contextmanager
def serve(plan: ServerPlan, told: list[str] | None = None, **options: Any) -> Iterator[VllmServer]:  # noqa: ANN401
    def note(progress: Progress) -> None:
        if told is not None and progress.stage == "notice":
            told.append(progress.message)

    with VllmServer(plan, report=note, first_wait_s=0.01, poll_s=0.05, **options) as server:
        yield server


def ask(url: str, path: str = "/v1/models") -> str:
    with urlopen(url.removesuffix("/v1") + path, timeout=5) as answer:
        return str(answer.read().decode())


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def engines(log: Path) -> list[int]:
    """The process ids of the engines that a log tells of."""
    lines = log.read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("engine ")]


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_the_command_names_the_model_its_adapters_and_a_cache_of_prefixes() -> None:
    adapters = (ServedAdapter("a", Path("/a"), 4), ServedAdapter("b", Path("/b"), 24))
    served = Served("tiny", Path("/tiny"), adapters)
    words = vllm_arguments(GPU, served, host="::1", port=8000, more=["--dtype", "float32"])
    text = " ".join(words)
    assert text.startswith("/env/bin/python -m vllm.entrypoints.openai.api_server --model /tiny")
    assert "--served-model-name tiny --host ::1 --port 8000" in text
    assert "--enable-lora --max-lora-rank 32 --max-loras 2 --lora-modules a=/a b=/b" in text
    assert "--load-format safetensors" in text
    assert "--enable-prefix-caching" in text
    assert "--max-model-len auto" in text
    assert text.endswith("--dtype float32")


def test_an_embedding_model_is_served_as_one() -> None:
    served = Served("MiniLM", Path("/m"), embedding=True)
    text = " ".join(vllm_arguments(GPU, served, host="h", port=1))
    assert "--runner pooling --convert embed" in text
    assert "lora" not in text
    assert "--max-model-len" not in text
    asked = vllm_arguments(GPU, served, host="h", port=1, max_model_len=99)
    assert asked[asked.index("--max-model-len") + 1] == "99"


def test_a_rank_that_vllm_does_not_take_is_refused() -> None:
    served = Served("tiny", Path("/t"), (ServedAdapter("wide", Path("/w"), 600),))
    with pytest.raises(LanguageModelError, match=r"wide has rank 600.*512 at most.*--merge"):
        vllm_arguments(GPU, served, host="h", port=1)


def test_a_processor_is_spared_compiling_and_what_the_user_sets_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.delenv("TORCH_COMPILE_DISABLE", raising=False)
    on_cpu = vllm_environment(Vllm(Path("p"), on_cpu=True))
    assert on_cpu["TORCH_COMPILE_DISABLE"] == "1"
    assert on_cpu["VLLM_CPU_KVCACHE_SPACE"] == "1"
    on_gpu = vllm_environment(GPU)
    assert (
        on_gpu["VLLM_NO_USAGE_STATS"] == on_gpu["DO_NOT_TRACK"] == on_gpu["HF_HUB_OFFLINE"] == "1"
    )
    assert "TORCH_COMPILE_DISABLE" not in on_gpu


def test_without_vllm_the_way_to_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CODEQA_VLLM_PYTHON", raising=False)
    monkeypatch.setattr("app.vllm_command.CPU_ENVIRONMENT", tmp_path)
    assert main(["serve", "tiny"]) == 1
    assert "run `make vllm-cpu`" in capsys.readouterr().err
    monkeypatch.setenv("CODEQA_VLLM_PYTHON", "/no/such/python")
    with pytest.raises(LanguageModelError, match="CODEQA_VLLM_PYTHON is /no/such/python"):
        find_vllm()


def test_another_environment_can_be_named(vllm: Path) -> None:
    assert find_vllm() == Vllm(vllm, on_cpu=True)


def test_an_adapter_s_folder_is_served_with_its_base(models: Path) -> None:
    found = find_served(str(models / "tuned"))
    assert (found.name, found.folder) == ("tiny", models / "tiny")
    assert found.adapters == (ServedAdapter("tuned", models / "tuned", 4),)


def test_a_registered_model_is_served_by_its_name(models: Path) -> None:
    register_model(models / "tiny", "house-model", alias="new")
    found = find_served("models:/house-model@new", [f"sql={models / 'tuned'}"])
    assert (found.name, found.folder) == ("house-model", models / "tiny")
    assert [adapter.name for adapter in found.adapters] == ["sql"]


@pytest.mark.parametrize(
    ("adapters", "message"),
    [
        (["{models}/tuned"], "write NAME=FOLDER"),
        (["a={models}/tiny"], "tiny is no adapter"),
        (["tiny={models}/tuned"], "two models would be called tiny"),
        (["a={models}/none"], "is no folder here"),
    ],
)
def test_adapters_that_cannot_be_served_are_refused(
    models: Path, adapters: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CodeQAError, match=message):
        find_served(str(models / "tiny"), [text.format(models=models) for text in adapters])


def test_an_adapter_of_another_model_is_refused(models: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other")
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.weight"] = weights[
        "model.layers.0.self_attn.q_proj.weight"
    ][:, :32].contiguous()
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LanguageModelError, match=r"adapter a does not fit other: .* 32 wide"):
        find_served(str(other), [f"a={models / 'tuned'}"])


def test_what_follows_two_dashes_is_passed_on() -> None:
    words = "serve tiny --adapter a=b --port 0 -- --dtype float32 -O".split()
    options = make_parser().parse_args(words)
    assert (options.model, options.adapter, options.port) == ("tiny", ["a=b"], 0)
    assert options.passed_on == ["--dtype", "float32", "-O"]
    assert make_parser().parse_args(["serve", "tiny"]).passed_on == []


def test_parameters_of_a_file_are_not_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("model: tiny\nmax_model_len: 99\n")
    parser = make_parser()
    words = ["serve", "--parameters", str(file), "--", "--dtype", "float32"]
    options = parser.parse_args(expand_parameters(parser, words))
    assert (options.model, options.max_model_len) == ("tiny", 99)
    assert options.passed_on == ["--dtype", "float32"]


def test_other_addresses_than_this_machine_s_need_a_key(
    vllm: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(models / "tiny"), "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "set VLLM_API_KEY to a key of your own" in capsys.readouterr().err


def test_a_taken_port_is_said_at_once(vllm: Path, tmp_path: Path) -> None:
    wanted = plan(vllm, tmp_path / "log")
    with socket.socket() as other:
        other.bind(("127.0.0.1", wanted.port))
        other.listen()
        with pytest.raises(PortInUseError, match="choose another with --port"), serve(wanted):
            pass


def test_a_crashed_server_is_started_again(vllm: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with serve(plan(vllm, tmp_path / "logs/vllm.log"), told) as server:
        first = ask(server.url)
        with suppress(OSError):
            ask(server.url, "/crash")
        wait_until(lambda: server.restarts == 1)
        assert ask(server.url) != first
    assert told[0].startswith("vLLM stopped; try 1 of 5")
    assert told[1] == f"vLLM answers again at {server.url}"


def test_a_server_that_says_it_is_dead_is_started_again(vllm: Path, tmp_path: Path) -> None:
    with serve(plan(vllm, tmp_path / "vllm.log")) as server:
        ask(server.url, "/ill")
        wait_until(lambda: server.restarts == 1)
        assert ask(server.url, "/health")


def test_a_server_that_does_not_come_back_is_given_up(vllm: Path, tmp_path: Path) -> None:
    told: list[str] = []
    fails = tmp_path / "fails"
    wanted = plan(vllm, tmp_path / "vllm.log", FAKE_VLLM_FAILS=str(fails))
    with serve(wanted, told) as server:
        fails.touch()
        with suppress(OSError):
            ask(server.url, "/crash")
        problem = "does not come back: vLLM does not start: ValueError: the model is too large"
        with pytest.raises(LanguageModelError, match=problem):
            server.wait()
    assert len(told) == MAX_RESTARTS + 1


def test_a_server_that_does_not_start_says_why_and_leaves_nothing(
    vllm: Path, tmp_path: Path
) -> None:
    (tmp_path / "fails").touch()
    wanted = plan(vllm, tmp_path / "vllm.log", FAKE_VLLM_FAILS=str(tmp_path / "fails"))
    with pytest.raises(LanguageModelError, match=r"too large: see .*vllm\.log"), serve(wanted):
        pass


def test_a_server_that_is_never_ready_is_given_up(vllm: Path, tmp_path: Path) -> None:
    wanted = plan(vllm, tmp_path / "vllm.log")
    wanted = ServerPlan(["sleep", "60"], *list(vars(wanted).values())[1:])
    with pytest.raises(LanguageModelError, match="was not ready"), serve(wanted, ready_s=0.2):
        pass


@pytest.mark.parametrize("mood", ["", "stubborn"])
def test_when_it_ends_all_its_processes_do(
    vllm: Path, tmp_path: Path, mood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "vllm.log"
    with serve(plan(vllm, log, FAKE_VLLM=mood)) as server:
        (engine,) = engines(log)
        pids = [engine, int(ask(server.url).rpartition('"pid": ')[2].rstrip("}"))]
        assert all(map(is_running, pids))
    wait_until(lambda: not any(map(is_running, pids)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_codeqa_serve_ends_nothing_is_left_running(
    vllm: Path, models: Path, tmp_path: Path, number: int
) -> None:
    log = tmp_path / "vllm.log"
    words = ["serve", str(models / "tuned"), "--port", "0", "--log", str(log)]
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        assert '"tiny"' in ask(url)
        assert '"tuned"' in ask(url)
        pids = [*engines(log), int(ask(url).rpartition('"pid": ')[2].rstrip("}"))]
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == (0 if number == signal.SIGINT else -number)
    assert f"starting tiny on vLLM (CPU); log: {log}" in said
    assert f"tiny and tuned can be asked: codeqa chat REPO --llm {url}" in said
    wait_until(lambda: not any(map(is_running, pids)))


def test_a_killed_guardian_leaves_nothing_either(vllm: Path, tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    with serve(plan(vllm, log)) as server:
        guardian = psutil.Process(engines(log)[0]).parent().parent()
        guardian.kill()
        wait_until(lambda: server.restarts == 1)
        first, second = engines(log)
        assert not is_running(first)
        assert is_running(second)


def test_the_chat_s_server_asks_for_the_key_that_the_chat_gives(
    vllm: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "codeqa-cache" / "logs"
    monkeypatch.setenv("VLLM_API_KEY", "another server's")
    with serve_for_chat(str(models / "tiny"), [f"sql={models / 'tuned'}"]) as url:
        assert '"sql"' in ask(url)
        (log,) = logs.iterdir()
        assert "key None" in log.read_text()
    monkeypatch.setenv("OPENAI_API_KEY", "ours")
    with serve_for_chat(str(models / "tiny")):
        (log,) = logs.iterdir()  # that of a server that ended well is gone
        assert "key ours" in log.read_text()


def test_a_model_is_served_for_as_long_as_the_page_is_open(
    vllm: Path, models: Path, tmp_path: Path
) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/take.py").write_text("def take(tokens): return tokens\n")
    words = ["chat", str(tmp_path / "repo"), "--index", str(tmp_path / "index")]
    words += ["--serve", str(models / "tiny"), "--adapter", f"sql={models / 'tuned'}"]
    words += ["--history", str(tmp_path / "history"), "--port", "0", "--no-browser"]
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", *words], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        address = next(line for line in process.stderr if line.startswith("Ask at")).split()[2]
        offered = ask(f"{address}/v1")
        (log,) = (tmp_path / "codeqa-cache/logs").iterdir()
        pids = engines(log)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert '"tiny"' in offered
    assert '"sql"' in offered
    wait_until(lambda: not any(map(is_running, pids)))


def test_the_reason_is_found_in_a_log() -> None:
    log = (
        "(Worker pid=7) INFO 11-22 10:00:00 [a.py:1] Loading weights\n"
        "(Worker pid=7) WARNING 11-22 10:00:00 [a.py:1] may cause OSError: too many files\n"
        "(APIServer pid=7) pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "(APIServer pid=7)   Value error, it is too long\n"
        "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.\n"
        "(APIServer pid=7) INFO 11-22 10:00:02 [a.py:1] Route: /health, Methods: GET\n\n"
    )
    assert last_error(log) == (
        "ValidationError: 1 validation error for ModelConfig Value error, it is too long"
    )
    assert last_line(log).startswith("RuntimeError: Engine core initialization failed")
    assert last_error("x.py: error: unrecognized arguments: --foo\n") == (
        "unrecognized arguments: --foo"
    )
    dead = "x.EngineDeadError: EngineCore encountered an issue."
    assert last_error(dead) == "EngineDeadError: EngineCore encountered an issue."
    assert last_error(last_line("")) == ""
