"""The whole way, for real: a tuned adapter behind vLLM, asked through the app, killed, and back."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil
import pytest

from app.answer import Answer, Delta, Event, EvidenceFound, answer
from app.conversation import Draft, Exchange, follow
from app.llm import open_chat_model
from app.models import open_models
from app.vllm_command import MODULE, Vllm, find_vllm, vllm_environment
from data_tools.errors import LanguageModelError
from retrieval.embed import DEFAULT_EMBEDDER, ServerEmbedder, open_embedder
from retrieval.index import CodeIndex
from retrieval.prompt import answer_messages
from tests.fakes import FakeEncoder
from tests.tiny_model import make_tiny_model
from training.config import TrainConfig
from training.train import train

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

CODE = '''class TokenBucket:
    """Limits how often something happens, by tokens that refill over time."""

    def take(self, tokens: int) -> bool:
        """Take tokens from the bucket, or return False if too few are left."""
        return self._take(tokens)
'''
QUESTION = "What limits how often something happens?"
ROOT = Path(__file__).parent.parent.parent
GREEDY_TOKENS = 48
HALF_A_LETTER = "\N{REPLACEMENT CHARACTER}"
CONTEXT_TOKENS = 16_384
START_S = 240  # on two cores that others use too


def vllm_or_skip() -> Vllm:
    """vLLM, where it is installed."""
    try:
        return find_vllm()
    except LanguageModelError as error:
        pytest.skip(str(error))


@contextmanager
def serve(*words: str, log: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run `codeqa serve` as a user does; yields it and the URL that it prints."""
    vllm_or_skip()
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
    words = ("serve", *words, "--port", "0", "--log", str(log), "--", "--dtype", "float32")
    with (
        log.with_suffix(".err").open("w+") as said,
        subprocess.Popen(
            [sys.executable, "-m", "app.cli", *words],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url, said.seek(0) or said.read()
            yield process, url
        finally:
            process.kill()


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return list(psutil.Process(process.pid).children(recursive=True))


def assert_ended(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, `tiny`, and in the run `run` an adapter that was trained on it."""
    folder = tmp_path_factory.mktemp("models")
    base = make_tiny_model(folder / "tiny")
    settings = json.loads((base / "config.json").read_text())
    settings["max_position_embeddings"] = CONTEXT_TOKENS  # a token a byte: for a long answer
    (base / "config.json").write_text(json.dumps(settings))
    rows = [{"question": f"Which number is {at}?", "answer": f"It is {at}."} for at in range(12)]
    pairs = folder / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config = {
        "objective": "instruct",
        "output": str(folder / "run"),
        "model": {"name": str(base), "method": "lora", "lora": {"rank": 4}},
        "data": {"pairs": [str(pairs)], "max_tokens": 128, "packing": False},
        "duration": "6ba",
        "batch": {"size": 4},
        "optimizer": {"learning_rate": 2e-2, "warmup": "0ba"},
        "precision": "fp32",
        "tracking": {"to": []},
    }
    train(TrainConfig.model_validate(config))
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeIndex]:
    folder = tmp_path_factory.mktemp("limits")
    (folder / "bucket.py").write_text(CODE)
    place = tmp_path_factory.mktemp("index")
    with CodeIndex.build([str(folder)], place, embedder=FakeEncoder()) as index:
        yield index


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The command that serves both, and the URL."""
    words = [str(folder / "tiny"), "--adapter", f"tuned={folder / 'run'}"]
    with serve(*words, log=folder / "vllm.log") as running:
        yield running


def ask(index: CodeIndex, url: str, model: str, max_tokens: int = GREEDY_TOKENS) -> list[Event]:
    chat = open_chat_model(url, model=model, max_tokens=max_tokens)
    return list(answer(index, QUESTION, chat=chat))


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def greedy_text(events: list[Event], base: Path, adapter: Path | None) -> str:
    """What transformers answers to the same question and evidence."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (hits,) = (event.hits for event in events if isinstance(event, EvidenceFound))
    messages = [dict(each) for each in answer_messages(QUESTION, [hit.chunk for hit in hits])]
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(
        **inputs, max_new_tokens=GREEDY_TOKENS, do_sample=False, temperature=None, top_k=None,
        top_p=None,
    )  # fmt: skip
    new = written[0, inputs["input_ids"].shape[1] :]
    return str(tokenizer.decode(new, skip_special_tokens=True))


def prefix_cache(url: str) -> dict[str, float]:
    """How many prompt tokens were looked up in the cache of prefixes, and found."""
    with urlopen(url.removesuffix("/v1") + "/metrics", timeout=10) as page:
        text = page.read().decode()
    found = re.findall(r"^vllm:prefix_cache_(\w+)_total\{.*\} (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_base_and_adapter_are_served_side_by_side(served: tuple[Any, str]) -> None:
    models = open_models([served[1]])
    assert models.names == ("tiny", "tuned")
    assert models.default == "tiny"


@pytest.mark.parametrize("model", ["tiny", "tuned"])
def test_the_app_s_answer_is_what_transformers_writes(
    served: tuple[Any, str], folder: Path, index: CodeIndex, model: str
) -> None:
    events = ask(index, served[1], model)
    last = events[-1]
    assert isinstance(last, Answer)
    assert (last.mode, last.model) == ("model", model)
    adapter = folder / "run" / "adapter" if model == "tuned" else None
    expected = greedy_text(events, folder / "tiny", adapter)
    assert len(expected) > 8
    # vLLM keeps back a letter of which it has only the first bytes when the answer ends; what the
    # app adds after it says that the answer was cut.
    assert text_of(events).startswith(expected.rstrip(HALF_A_LETTER))


def test_a_prompt_that_was_read_before_is_found_in_the_cache(
    served: tuple[Any, str], index: CodeIndex
) -> None:
    ask(index, served[1], "tiny")
    before = prefix_cache(served[1])
    ask(index, served[1], "tiny")
    after = prefix_cache(served[1])
    asked = after["queries"] - before["queries"]
    assert (after["hits"] - before["hits"]) / asked > 0.8


def test_a_server_killed_in_mid_answer_is_said_and_comes_back(
    served: tuple[Any, str], folder: Path, index: CodeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, url = served
    # What a tiny model writes may be a loop at once: then codeqa, not the server, would end it.
    monkeypatch.setattr("app.llm_limits.is_loop", lambda text: False)
    (engine,) = (each for each in family(process) if "EngineCore" in each.name())
    whole = text_of(ask(index, url, "tiny"))
    chat = open_chat_model(url, model="tiny", max_tokens=CONTEXT_TOKENS - 4_096)
    begun = Exchange(QUESTION, drafts=(Draft("tiny"),))
    # By the clock, not by what has come: on two cores a server that writes this fast may send
    # nothing until it has written all.
    killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {engine.pid}"])
    killed = time.monotonic()
    for exchange in follow(begun, answer(index, QUESTION, chat=chat)):
        (draft,) = exchange.drafts
    assert killer.wait() == 0
    assert draft.answer is None, draft.answer.text[-200:]
    assert draft.problem
    assert url in draft.problem
    assert draft.text[:16] == whole[: len(draft.text[:16])]  # what arrived is kept
    said = folder / "vllm.err"
    while "vLLM answers again" not in said.read_text():
        assert time.monotonic() - killed < START_S
        time.sleep(0.5)
    assert "vLLM stopped; try 1 of 5" in said.read_text()
    assert text_of(ask(index, url, "tiny")) == whole


def test_ctrl_c_ends_all_of_its_processes(served: tuple[Any, str]) -> None:
    process, _ = served
    processes = family(process)
    assert len(processes) >= 3  # what guards the rest, the server, its engine
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert_ended(processes)


def test_a_served_embedding_model_gives_the_same_vectors(tmp_path: Path) -> None:
    texts = [CODE, QUESTION, "def parse(line): return line.split()"]
    own = open_embedder()
    with serve(DEFAULT_EMBEDDER, "--embedding", log=tmp_path / "vllm.log") as (process, url):
        embedder = open_embedder(f"{url}#{DEFAULT_EMBEDDER}")
        assert isinstance(embedder, ServerEmbedder)
        with closing(embedder):
            assert embedder.dimension == own.dimension
            cosines = np.sum(own.embed(texts) * embedder.embed(texts), axis=1)
        assert cosines.min() > 0.999
        processes = family(process)
        process.kill()  # it cannot end its server any more
        assert_ended(processes)


def test_every_option_of_the_deployment_files_is_vllm_s() -> None:
    vllm = vllm_or_skip()
    done = subprocess.run(
        [vllm.python, "-m", MODULE, "--help=all"],
        env=vllm_environment(vllm),
        capture_output=True,
        text=True,
        check=True,
    )
    known = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", done.stdout, re.MULTILINE))
    files = [ROOT / "compose.yaml", ROOT / "kubernetes" / "model.yaml"]
    files += (ROOT / "mcli_yamls").glob("*_deploy_*.yaml")
    for file in files:
        text = file.read_text("utf-8").partition("vllm serve" if "mcli" in str(file) else "vllm")[2]
        used = set(re.findall(r"[ {+](--[a-z][\w-]+)", text))
        assert len(used) > 4
        assert used <= known, file.name
