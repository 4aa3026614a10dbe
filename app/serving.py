"""`codeqa serve`, and the model that `codeqa chat --serve` starts: a model behind vLLM.

A server listens on this machine alone, unless it has a key to ask for.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.ports import LOOPBACK_HOSTS, check_port, free_port
from app.served_models import find_served
from app.vllm_command import KEY_VARIABLE, Vllm, find_vllm, vllm_arguments, vllm_environment
from app.vllm_server import ServerPlan, VllmServer
from data_tools.clone import cache_folder
from data_tools.errors import LanguageModelError
from data_tools.progress import Progress

CHAT_HOST = "127.0.0.1"
CLIENT_KEY_VARIABLE = "OPENAI_API_KEY"  # what codeqa itself asks a server with
SECONDS_A_LINE = 10  # of a start, where lines do not replace each other


def run_serve(options: argparse.Namespace) -> None:
    """Serve a model until Ctrl-C; print its URL once it answers.

    :raises LanguageModelError: it cannot be started, or stopped and does not come back.
    """
    vllm = find_vllm()
    port = options.port or free_port(options.host)
    check_port(options.host, port)
    _check_key(options.host, options.passed_on)
    served = find_served(options.model, options.adapter, embedding=options.embedding)
    words = vllm_arguments(
        vllm,
        served,
        host=options.host,
        port=port,
        max_model_len=options.max_model_len,
        more=options.passed_on,
    )
    log = Path(options.log) if options.log else _default_log(port)
    plan = ServerPlan(words, vllm_environment(vllm), options.host, port, log)
    status = Status()
    status.say(_describe_start(served.name, vllm, log))
    try:
        with VllmServer(plan, report=status) as server:
            used = (
                f"--embedder {server.url}#{served.name}"
                if served.embedding
                else f"--llm {server.url}"
            )
            status.say(f"{' and '.join(served.names)} can be asked: codeqa chat REPO {used}")
            print(server.url, flush=True)
            server.wait()
    except KeyboardInterrupt:
        status.say("stopped")


@contextmanager
def serve_for_chat(model: str, adapters: Sequence[str] = ()) -> Iterator[str]:
    """Serve a model for this program alone, at a port that is free.

    :param model: as `codeqa serve` takes it; so are `adapters`.
    :yields: the base URL.
    :raises CodeQAError: it cannot be started.
    """
    vllm = find_vllm()
    port = free_port(CHAT_HOST)
    served = find_served(model, adapters)
    words = vllm_arguments(vllm, served, host=CHAT_HOST, port=port)
    environment = vllm_environment(vllm)
    environment.pop(KEY_VARIABLE, None)  # it asks for the key that we have to give, if any
    if key := os.environ.get(CLIENT_KEY_VARIABLE, "").strip():
        environment[KEY_VARIABLE] = key
    plan = ServerPlan(words, environment, CHAT_HOST, port, _default_log(port))
    status = Status()
    status.say(_describe_start(served.name, vllm, plan.log))
    with VllmServer(plan, report=status) as server:
        status.say(f"{' and '.join(served.names)} can be asked")
        yield server.url
    plan.log.unlink(missing_ok=True)  # all went well, and the next one is called otherwise


class Status:
    """Says on stderr how a server's start goes; on a terminal, in one line that is replaced."""

    def __init__(self) -> None:
        self._next_s = 0

    def __call__(self, progress: Progress) -> None:
        """Show one step."""
        if progress.stage != "serve":
            self.say(progress.message)
            return
        text = f"starting vLLM, {progress.done} s: {progress.message}"
        if sys.stderr.isatty():
            width = max(20, os.get_terminal_size(sys.stderr.fileno()).columns - 1)
            print(f"{text[:width]}\x1b[K", end="\r", file=sys.stderr, flush=True)
        elif progress.done >= self._next_s:
            self._next_s = progress.done + SECONDS_A_LINE
            print(text, file=sys.stderr, flush=True)

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self._next_s = 0
        erase = "\x1b[K" if sys.stderr.isatty() else ""
        print(message + erase, file=sys.stderr, flush=True)


def _check_key(host: str, passed_on: Sequence[str]) -> None:
    """Refuse to let others use the model, unless they know a key."""
    has_key = any(word.partition("=")[0] == "--api-key" for word in passed_on)
    if host in LOOPBACK_HOSTS or has_key or os.environ.get(KEY_VARIABLE, "").strip():
        return
    raise LanguageModelError(
        f"whoever reaches {host} could use the model: set {KEY_VARIABLE} to a key of your own, or "
        "leave --host out"
    )


def _describe_start(name: str, vllm: Vllm, log: Path) -> str:
    return f"starting {name} on vLLM{' (CPU)' if vllm.on_cpu else ''}; log: {log}"


def _default_log(port: int) -> Path:
    return cache_folder() / "logs" / f"vllm-{port}.log"
