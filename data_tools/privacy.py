"""No library reports on its use: what they read, set in one place, before any is imported.

A command asks no host but those that its user named: repositories, models, servers. Tracing is
off even if the shell's set-up has it on, because that was set for other programs, and would send
each question with its evidence away. Trackers that a training run's configuration names do work.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

REPORTING_OFF = {
    "DO_NOT_TRACK": "1",  # huggingface_hub, vLLM and others
    "GRADIO_ANALYTICS_ENABLED": "False",  # also its look for a newer version
    "HF_HUB_DISABLE_TELEMETRY": "1",  # transformers, datasets and TRL, too
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # transformers asks a bot on the hub, in a thread
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_TRACING_V2": "false",
    "LANGCHAIN_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",  # vLLM may start it
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "WANDB_ERROR_REPORTING": "false",  # where a run is tracked there: its own faults
}
USER_AGENT = "codeqa"


def stop_reporting() -> None:
    """Switch all reports off, whatever the environment says; commands inherit it."""
    os.environ.update(REPORTING_OFF)


def tell_no_more(request: "httpx.Request") -> None:
    """Leave out what the OpenAI client says of this machine: its system, processor and Python.

    To be called for each request, as one of an `httpx.Client`'s hooks.
    """
    for name in [name for name in request.headers if name.lower().startswith("x-stainless-")]:
        del request.headers[name]
    request.headers["User-Agent"] = USER_AGENT
