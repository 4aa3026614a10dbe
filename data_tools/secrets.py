"""Passwords, keys and tokens, found in text and taken out before anything keeps it.

What is found is replaced by a marker, `[redacted: AWS key]`, on the line where it stood; lines keep
their numbers. It happens where text enters: files as they are read, questions as they are asked,
what a model writes as it comes. `# pragma: allowlist secret` is not heeded: whoever wrote it spoke
for another program. Words, and passwords made of words, cannot be told from code and are left.

Python's regular expressions would take longer than all the rest of reading. So each text is first
shown to the regular expressions of Rust, which come with pydantic and read gigabytes a second: they
hold the same patterns, less what looks ahead or behind, so they let nothing through that Python
would find. Only what they stop at is looked at closely.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from pydantic_core import SchemaValidator, core_schema

from data_tools.languages import Kind, detect_language

if TYPE_CHECKING:
    from data_tools.secret_kinds import Detector, Span

BLOCK_CHARS = 2_000  # shown to Rust before its lines are, where a text holds something
BEGINNINGS_AT_ONCE = 6  # looked for at once; with many more, Rust reads letter by letter
_ATOM = r"(?:\\.|\[(?:\\.|[^\]\\])*\]|[^()\\\[])"
_LOOK_AROUND = re.compile(rf"\(\?<?[=!](?:{_ATOM}|\({_ATOM}*\))*\)")
_OPTIONAL_START = re.compile(r"^(?:\(\?:(?:[^()]|\([^()]*\))*\|\))+")
_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]|\\[wsd]")
_BARE_CODE = frozenset({"shell", "docker", "make", "cmake"})  # values stand without quotes
_KEY_FILE = re.compile(
    r"\.env(?!\.(?:example|sample|template|dist|md)$)(?:\.[\w.-]*)?|\.netrc|\.pgpass|\.htpasswd|"
    r"\.git-credentials|\.npmrc|\.pypirc|\.dockercfg|id_(?:rsa|dsa|ecdsa|ed25519)(?:\.txt)?|"
    r".*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk|ovpn|tfstate|tfvars)|"
    r"(?:.*[-_.])?(?:credentials?|secrets?|client[-_]secret[\w-]*|service[-_]?account(?:[-_]?key)?)"
    r"\.(?:json|ya?ml|ini|cfg|conf|properties|toml|txt|enc)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Redacted:
    """A text without its secrets.

    :param kinds: of the secrets that were in it, one each, in their order.
    """

    text: str
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileSecrets:
    """How many secrets of one kind were taken out of a file."""

    repo: str
    path: str
    kind: str
    count: int


def redact(text: str, path: str = "") -> Redacted:
    """Take the secrets out of a text; lines keep their numbers.

    :param path: of the file it is; in most code, only what stands in quotes can be a password.
    """
    parts, kinds, end = [], [], 0
    for span in find_secrets(text, path):
        newlines = "\n" * text.count("\n", span.start, span.end)
        parts += [text[end : span.start], f"[redacted: {span.kind}]", newlines]
        kinds.append(span.kind)
        end = span.end
    return Redacted("".join([*parts, text[end:]]), tuple(kinds)) if kinds else Redacted(text)


def find_secrets(text: str, path: str = "", *, screened: bool = True) -> "list[Span]":
    """Find where secrets stand in a text, in order, none over another.

    :param path: as of `redact`.
    :param screened: False asks Python's patterns of every line: it takes long, and finds the same.
    """
    shown = _show(text)
    sieves = [s for s in _sieves(_manner(path)) if not screened or s.stops(shown)]
    if not sieves:
        return []
    found: list[Span] = []
    in_lines = [sieve for sieve in sieves if not sieve.whole]
    for block_start, block in _blocks(text) if in_lines else ():
        shown, start = _show(block), block_start
        near = [sieve for sieve in in_lines if not screened or sieve.stops(shown)]
        for line in block.split("\n") if near else ():
            shown = _show(line)
            for sieve in near:
                if not screened or sieve.stops(shown):
                    found += (span.moved(start) for span in sieve.find(line))
            start += len(line) + 1
    return _apart([*found, *(span for s in sieves if s.whole for span in s.find(text))])


def _blocks(text: str) -> "Iterator[tuple[int, str]]":
    """Cut a text at ends of lines into blocks; yield where each begins, and the block."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + BLOCK_CHARS)
        end = len(text) if end < 0 else end + 1
        yield start, text[start:end]
        start = end


def _apart(found: "list[Span]") -> "list[Span]":
    """Join spans that lie over each other; they are called what the first, longest one is."""
    kept: list[Span] = []
    for span in sorted(found, key=lambda span: (span.start, -span.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.end > kept[-1].end:
            kept[-1] = replace(kept[-1], end=span.end)
    return kept


def holds_keys(path: str) -> bool:
    """Tell by its name whether a file is there to hold keys: `.env`, `id_rsa`, `secrets.yaml`."""
    return _KEY_FILE.fullmatch(path.rpartition("/")[2]) is not None


def say_redacted(kinds: Mapping[str, int]) -> str:
    """Say how many secrets were taken out, the most frequent kinds first; "" if none was."""
    total = sum(kinds.values())
    if not total:
        return ""
    most_first = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{kind}: {number:,}" for kind, number in most_first)
    return f"{total:,} {'secret' if total == 1 else 'secrets'} redacted ({named})"


def _manner(path: str) -> Kind:
    """Tell how values are written in a file: quoted in code, bare in prose, listed in settings."""
    language = detect_language(path)
    if language is None:  # a question, an answer: anything may have been pasted
        return Kind.CONFIG
    return Kind.PROSE if language.name in _BARE_CODE else language.kind


def _show(text: str) -> str | bytes:
    """Return a text as Rust takes it: half of a surrogate pair is no text to it."""
    return text if text.isascii() else text.encode("utf-8", errors="replace")


@dataclass(frozen=True)
class _Sieve:
    """Detectors, and one regular expression of Rust's that stops at all that they find.

    :param whole: they look at several lines at once.
    """

    detectors: "Sequence[Detector]"
    whole: bool
    screen: SchemaValidator

    def stops(self, shown: str | bytes) -> bool:
        return self.screen.isinstance_python(shown)

    def find(self, text: str) -> "Iterator[Span]":
        for detector in self.detectors:
            yield from detector.find(text)


@cache
def _sieves(manner: Kind) -> tuple[_Sieve, ...]:
    """Return the sieves for all kinds of secrets, in files where values are so written."""
    from data_tools import secret_kinds as kinds

    first, size = kinds.TOLD_BY_BEGINNING, BEGINNINGS_AT_ONCE
    groups = [(first[start : start + size], False) for start in range(0, len(first), size)]
    groups += [((each,), False) for each in kinds.TOLD_BY_SHAPE]
    groups += [(kinds.TOLD_BY_LINES, True)]
    by_name = kinds.TOLD_BY_NAME if manner is Kind.CODE else kinds.TOLD_BY_NAME_BARE
    groups += [((each,), False) for each in by_name]
    groups += [(kinds.TOLD_BY_LINE_BEFORE, True)] if manner is Kind.CONFIG else []
    return tuple(_Sieve(detectors, whole, _screen(detectors)) for detectors, whole in groups)


def _screen(detectors: "Sequence[Detector]") -> SchemaValidator:
    """Compile what detectors look for as one regular expression of Rust's."""
    patterns = [
        f"(?{'i' if pattern.flags & re.IGNORECASE else 's'}:{_loosen(pattern.pattern)})"
        for detector in detectors
        for pattern in detector.denylist
    ]
    schema = core_schema.str_schema(pattern="|".join(patterns), regex_engine="rust-regex")
    return SchemaValidator(schema)


def _loosen(pattern: str) -> str:
    """Write a pattern of Python's for Rust: nothing looks around, nothing has a greatest length."""
    pattern = _OPTIONAL_START.sub("", _LOOK_AROUND.sub("", pattern))
    pattern = re.sub(r"\{(\d+),\d+\}", r"{\1,}", pattern)
    return _CLASS.sub(lambda match: _in_ascii(match[0]), pattern)


def _in_ascii(characters: str) -> str:
    """Spell out classes such as `w`, which Rust would take to be of all scripts."""
    for name, members in (("w", "0-9A-Za-z_"), ("d", "0-9"), ("s", " \\t-\\r")):
        members = members if characters.startswith("[") else f"[{members}]"
        characters = characters.replace(f"\\{name}", members)
    return characters
