"""`make chat LLM=…` says how the model is run, and runs it so. Nothing is run here."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def dry_run(*words: str, vllm: str = "") -> list[str]:
    """The commands that `make` would run, were everything installed."""
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", "chat", "VLLM_CPU=/none", *words],
        cwd=ROOT,
        env={**os.environ, "CODEQA_VLLM_PYTHON": vllm},
        check=True,
        capture_output=True,
        text=True,
    )
    return [" ".join(line.split()) for line in done.stdout.splitlines() if "codeqa chat" in line]


@pytest.mark.parametrize("llm", ["http://localhost:8000/v1", "none"])
def test_a_server_is_asked_as_it_is(llm: str) -> None:
    assert dry_run(f"LLM={llm}", vllm="/env/python") == [f".venv/bin/codeqa chat . --llm '{llm}'"]


def test_a_model_is_served_where_vllm_is_installed() -> None:
    served = dry_run("LLM=Qwen/Qwen3-4B", "REPO=.. x", "PORT=9", vllm="/env/python")
    assert served == [".venv/bin/codeqa chat .. x --serve 'Qwen/Qwen3-4B' --port '9'"]


@pytest.mark.skipif(
    any(ROOT.glob(".venv/lib/*/site-packages/vllm")), reason="vLLM is installed beside codeqa"
)
def test_a_model_is_loaded_by_the_chat_where_it_is_not() -> None:
    assert dry_run("LLM=models:/a@b") == [".venv/bin/codeqa chat . --llm 'models:/a@b'"]


def test_without_a_model_none_is_asked_for() -> None:
    assert dry_run(vllm="/env/python") == [".venv/bin/codeqa chat ."]
