"""The lock: every package that is asked for, at its version, and every one with its hashes."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^(?P<name>[\w.-]+)(?:\[[\w,]+\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}\b", re.MULTILINE)


def pins(file: str) -> dict[str, str]:
    """Names as pip compares them, and versions without what they were built for."""
    found = PIN.finditer((ROOT / file).read_text("utf-8"))
    return {
        re.sub(r"[-_.]+", "-", pin["name"]).lower(): pin["version"].partition("+")[0]
        for pin in found
    }


def test_the_lock_holds_what_is_asked_for() -> None:
    asked, locked = pins("requirements-cpu.txt"), pins("requirements-cpu.lock")
    assert {name: locked.get(name) for name in asked} == asked, "run `make lock`"


def test_every_package_of_the_lock_has_a_hash() -> None:
    for file in ("requirements-cpu.lock", "requirements-no-deps.txt"):
        text = (ROOT / file).read_text("utf-8")
        starts = [pin.start() for pin in PIN.finditer(text)]
        entries = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
        assert entries
        assert [entry.partition("==")[0] for entry in entries if not HASH.search(entry)] == []


def test_the_lock_names_no_address_to_load_from() -> None:
    text = (ROOT / "requirements-cpu.lock").read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^(?:-|--)(?:i|f|index|extra|find|trusted)", text, re.MULTILINE)
