"""`codeqa doctor`: is all that codeqa needs here and whole, and if not, what mends it.

Each check looks at one thing, changes nothing, and ends in a `Finding`; one that breaks is a fault
of what it looked at, never of the others. Nothing is fetched, and no server is asked but those that
are named.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from app.commands import count, print_json
from data_tools.clone import cache_folder
from data_tools.errors import CodeQAError, IndexMissingError

State = Literal["ok", "note", "fault"]

OLDEST_GIT = (2, 37)  # the first that keeps to the address it is given (http.curloptResolve)
FREE_BYTES = 2 * 10**9  # an index of a large repository, and its new generation beside it
FREE_BYTES_NEEDED = 200 * 10**6
MEMORY_BYTES = 4 * 10**9  # libraries, the embedding model and an index of 100,000 chunks
PACKAGES = (
    "torch transformers sentence-transformers faiss-cpu tantivy langchain-core langchain-openai "
    "GitPython tree-sitter gradio fastapi peft accelerate mosaicml-streaming detect-secrets"
).split()
MARKS = {"ok": "ok", "note": "note", "fault": "FAULT"}


@dataclass(frozen=True)
class Finding:
    """What one check came to.

    :param what: the thing that was looked at.
    :param found: what it is like, in one line.
    :param mend: the command or step that mends it; "" where nothing is wrong.
    """

    state: State
    what: str
    found: str
    mend: str = ""


def run_doctor(options: argparse.Namespace) -> None:
    """Print what was found.

    :raises CodeQAError: something is at fault; everything was printed by then.
    """
    findings = list(examine(options.index, options.llm or (), options.history))
    if options.json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(f"{MARKS[finding.state]:<6}{finding.what:<{width}}  {finding.found}")
            if finding.mend:
                print(f"{'':<6}{'':<{width}}  → {finding.mend}")
    if faults := [finding.what for finding in findings if finding.state == "fault"]:
        raise CodeQAError(f"at fault: {', '.join(faults)}; what mends each stands beside it")


def examine(index: str, servers: Sequence[str], history: str | None) -> Iterator[Finding]:
    """Look at everything, one after the other.

    :param index: folder of an index, which need not be there.
    :param servers: base URLs of the model servers that are used.
    :param history: file of conversations; None for the usual place.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("Python", check_python),
        ("packages", check_packages),
        ("processor", check_processor),
        ("memory", check_memory),
        ("git", check_git),
        ("embedding model", check_embedder),
        ("cache", lambda: check_folder("cache", cache_folder(), "CODEQA_CACHE")),
        ("index", lambda: check_index(Path(index).expanduser())),
        ("conversations", lambda: check_history(history)),
        ("vLLM", check_vllm),
    ]
    checks += [(url, partial(check_server, url)) for url in servers]
    for what, check in checks:
        try:
            yield check()
        except CodeQAError as error:
            message, _, mend = str(error).partition(": ")
            yield Finding("fault", what, message, mend or str(error))
        except Exception as error:  # a broken installation may raise anything
            found = f"{type(error).__name__}: {error}".splitlines()[0]
            yield Finding("fault", what, found, "make install")


def check_python() -> Finding:
    """Its version, and that of codeqa."""
    version = platform.python_version()
    codeqa = importlib.metadata.version("codeqa")
    found = f"{version} on {platform.system()} {platform.machine()}, codeqa {codeqa}"
    return Finding("ok", "Python", found)


def check_packages() -> Finding:
    """The libraries that codeqa is built on, at the versions that it is tested with or others."""
    there, missing = {}, []
    for name in PACKAGES:
        try:
            there[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("fault", "packages", f"missing: {', '.join(missing)}", "make install")
    pinned = _read_pins()
    others = [
        f"{name} {version} (tested with {pinned[name]})"
        for name, version in there.items()
        if name in pinned and version.partition("+")[0] != pinned[name]
    ]
    if others:
        return Finding("note", "packages", "; ".join(others), "make install")
    shown = ", ".join(f"{name} {there[name]}" for name in PACKAGES[:4])
    return Finding("ok", "packages", f"{shown} and {len(there) - 4} others")


def _read_pins() -> dict[str, str]:
    """Read which versions the requirements name; none where they are not beside the code."""
    root = Path(__file__).parent.parent
    pins = {}
    for name in ("requirements-cpu.txt", "requirements-no-deps.txt"):
        file = root / name
        for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
            package, sign, version = line.partition("==")
            if sign:
                pins[package.partition("[")[0]] = version.partition(";")[0].strip(" \\")
    return pins


def check_processor() -> Finding:
    """Cores, a GPU, and the numbers that the embedding model is computed in."""
    import torch

    from retrieval.embed import has_bfloat16

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        found = f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB; {cores} cores"
        return Finding("ok", "processor", found)
    numbers = "bfloat16" if has_bfloat16("cpu") else "float32, as it has no fast bfloat16"
    return Finding("ok", "processor", f"{cores} cores, no GPU; embeds in {numbers}")


def check_memory() -> Finding:
    """What is free of the machine's, where the system says so."""
    lines = Path("/proc/meminfo").read_text().splitlines() if sys.platform == "linux" else []
    sizes = {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (li.partition(":") for li in lines)
    }
    free = sizes.get("MemAvailable")
    if free is None:
        return Finding("note", "memory", "this system does not say how much is free")
    found = f"{free / 1e9:.1f} of {sizes['MemTotal'] / 1e9:.1f} GB free"
    if free < MEMORY_BYTES:
        return Finding(
            "note", "memory", found, "end other programs before you index or load a model"
        )
    return Finding("ok", "memory", found)


def check_git() -> Finding:
    """Whether git is there and new enough."""
    git = shutil.which("git")
    if git is None:
        return Finding("fault", "git", "not found", "apt install git, or your system's way to it")
    said = subprocess.run([git, "--version"], capture_output=True, text=True, timeout=10).stdout
    words = said.split()
    version = words[2] if len(words) > 2 else "0"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST_GIT:
        needed = ".".join(map(str, OLDEST_GIT))
        return Finding("fault", "git", f"{version} is older than {needed}", "install a newer git")
    ssh = "" if shutil.which("ssh") else "; no ssh, so no ssh:// addresses"
    return Finding("ok", "git", version + ssh)


def check_embedder() -> Finding:
    """Whether the packaged model's weights are those that they should be."""
    from retrieval.embed import DEFAULT_EMBEDDER, open_embedder

    embedder = open_embedder()
    found = f"{DEFAULT_EMBEDDER}, its weights as published ({embedder.fingerprint[:12]}…)"
    return Finding("ok", "embedding model", found)


def check_folder(what: str, folder: Path, variable: str) -> Finding:
    """Whether something can be written there, and how much."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        found = f"{folder}: {error.strerror}"
        return Finding("fault", what, found, f"chmod u+w {there}, or name another in {variable}")
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < FREE_BYTES_NEEDED:
        mend = f"make room, or name a folder on another disk in {variable}"
        return Finding("fault", what, found, mend)
    if free < FREE_BYTES:
        return Finding("note", what, found, "large repositories may need more")
    return Finding("ok", what, found)


def check_index(folder: Path) -> Finding:
    """Whether an index is whole, every byte of it, and its embedding model is the one it names."""
    from retrieval.index import CodeIndex

    again = f"codeqa index REPO --index {folder}"
    try:
        with CodeIndex.open(folder) as index:
            index.verify()
            manifest = index.manifest
            found = (
                f"{folder}: {count(len(manifest.repositories), 'source')}, "
                f"{count(manifest.chunks, 'chunk')}, "
                f"every file as it was written"
            )
            if not index.vectors_ready:
                return Finding("note", "index", f"{found}; words alone, no vectors yet", again)
    except IndexMissingError:
        return Finding("note", "index", f"none in {folder}", again)
    except CodeQAError as error:
        return Finding("fault", "index", str(error).partition("; ")[0], again)
    return check_room(found, folder)


def check_room(found: str, folder: Path) -> Finding:
    """Whether a new generation fits beside the one that is there."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free
    if free < size:
        room = f"{found}; {free / 1e9:.1f} GB free, an update may need {size / 1e9:.1f}"
        return Finding("note", "index", room, "make room before you update it")
    return Finding("ok", "index", found)


def check_history(file: str | None) -> Finding:
    """Whether the file of conversations can be read, every page of it."""
    from app.history import default_history

    place = Path(file).expanduser() if file else default_history()
    if not place.exists():
        return check_folder("conversations", place, "XDG_DATA_HOME")
    import sqlite3
    from contextlib import closing

    again = f"codeqa chat --history OTHER_FILE; {place} is kept for sqlite3's .recover"
    try:
        with closing(sqlite3.connect(f"{place.resolve().as_uri()}?mode=ro", uri=True)) as database:
            (said,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            (number,) = database.execute("SELECT count(*) FROM conversations").fetchone()
    except sqlite3.Error as error:
        return Finding("fault", "conversations", f"{place}: {error}", again)
    if said != "ok":
        return Finding("fault", "conversations", f"{place}: {said}", again)
    return Finding("ok", "conversations", f"{number:,} in {place}")


def check_vllm() -> Finding:
    """Whether models can be served from here."""
    from app.vllm_command import find_vllm

    try:
        vllm = find_vllm()
    except CodeQAError as error:
        return Finding(
            "note", "vLLM", "not installed: `codeqa serve` needs it", str(error).partition(": ")[2]
        )
    return Finding(
        "ok", "vLLM", f"{vllm.python}, {'on the processor' if vllm.on_cpu else 'on GPUs'}"
    )


def check_server(url: str) -> Finding:
    """Whether a model server answers, and what it serves.

    :raises LanguageModelError: it does not.
    """
    from app.llm_server import find_server

    server = find_server(url, timeout_s=10.0, temperature=0.0, max_tokens=1)
    return Finding("ok", server.base_url, f"serves {', '.join(server.list_models())}")
