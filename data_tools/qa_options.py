"""Flags and configuration keys, and what is written of them.

Flags are the calls `add_argument` of argparse and `option` of click and typer whose help is a
plain string; keys are those of YAML files with a comment of their own. A flag that several
commands have is asked about with its file, or left out where they differ there too.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from data_tools.qa_codebase import Codebase, Evidence, QAPair, code, is_test_path, join_names
from data_tools.qa_python import PythonModule, iterate_calls
from data_tools.sentences import ends_open

MIN_HELP_WORDS = 3
MAX_HELP_WORDS = 60
MAX_CHOICES = 8
MAX_CODE_CHARS = 60

_DEFAULT_ASIDE = re.compile(
    r"(?<!\s)\s*[(\[][^()\[\]]*(?:%\(default\)\S?|\{default\}|%default)[^()\[\]]*[)\]]"
)
_KEY = re.compile(
    r"^(?P<indent> *)(?P<key>[A-Za-z_][\w.-]*):(?:\s+(?!#)\S.*?)?"
    r"(?:(?<!\s)\s+#\s*(?P<comment>\S.*))?$"
)
_COMMENT = re.compile(r"^(?P<indent> *)#+\s?(?P<text>.*)$")
_CODE_LIKE = re.compile(
    r"^[\w.-]+:(\s|$)|^[-\w]+=|^https?://|[{}$]|^[-=#*~]{3,}|noqa|yamllint|^\W*$|^- "
)


@dataclass(frozen=True)
class _Flag:
    name: str
    help: str
    default: str
    choices: tuple[str, ...]
    path: str
    lines: tuple[int, int]


def mine_options(codebase: Codebase, modules: Mapping[str, PythonModule]) -> Iterator[QAPair]:
    """Ask what each flag and each key of a configuration file is for."""
    flags: dict[str, list[_Flag]] = defaultdict(list)
    for module in modules.values():
        if not is_test_path(module.path):
            for flag in _find_flags(module):
                flags[flag.name].append(flag)
    for name, found in flags.items():
        paths = [flag.path for flag in found]
        for flag in found:
            if paths.count(flag.path) == 1:
                place = "" if len(found) == 1 else f" in `{flag.path}`"
                yield from _ask_flag(codebase, flag, f"the option `{name}`{place}")
    for file in codebase.files:
        if file.language == "yaml" and not is_test_path(file.path):
            yield from _mine_keys(codebase, file.path)


def _find_flags(module: PythonModule) -> Iterator[_Flag]:
    for call in iterate_calls(module.tree):
        function = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        is_flag = function == "add_argument" or (function == "option" and "click" in module.imports)
        strings = [each.value for each in call.args if isinstance(each, ast.Constant)]
        names = [each for each in strings if isinstance(each, str) and each.startswith("-")]
        values = {each.arg: each.value for each in call.keywords if each.arg}
        helped = values.get("help")
        if (
            not is_flag
            or not names
            or not isinstance(helped, ast.Constant)
            or not isinstance(helped.value, str)
        ):
            continue
        text = _DEFAULT_ASIDE.sub("", " ".join(helped.value.split())).replace("%%", "%").strip()
        default = values.get("default")
        listed = values.get("choices")
        choices = listed.elts if isinstance(listed, ast.List | ast.Tuple) else []
        plain = all(isinstance(each, ast.Constant) for each in choices)
        yield _Flag(
            max(names, key=len),
            text,
            module.segment(default) if isinstance(default, ast.Constant) else "",
            tuple(module.segment(each) for each in choices) if plain else (),
            module.path,
            (call.lineno, call.end_lineno or call.lineno),
        )


def _ask_flag(codebase: Codebase, flag: _Flag, title: str) -> Iterator[QAPair]:
    evidence = codebase.evidence(flag.path, flag.lines)
    if is_telling(flag.help):
        yield QAPair("option", f"What is {title} for?", _sentence(flag.help), evidence)
    if 1 < len(flag.choices) <= MAX_CHOICES:
        listed = join_names([code(choice) for choice in flag.choices])
        yield QAPair("option", f"Which values does {title} take?", f"{listed}.", evidence)
    if flag.default and len(flag.default) <= MAX_CODE_CHARS and flag.default not in ("None", '""'):
        answer = f"It defaults to {code(flag.default)}."
        yield QAPair("option", f"What is the default of {title}?", answer, evidence)


def is_telling(text: str) -> bool:
    """Tell whether a help text or comment is a statement in words, complete."""
    words = text.split()
    plain = [word for word in words if re.fullmatch(r"[A-Za-z'’-]{2,}[,.;:]?", word)]
    return (
        MIN_HELP_WORDS <= len(words) <= MAX_HELP_WORDS
        and len(plain) * 2 >= len(words)
        and "%(" not in text
        and text.count("`") % 2 == 0
        and not ends_open(text.rstrip("."))
    )


def _sentence(text: str) -> str:
    first = text[0].upper() + text[1:] if text[:2].islower() or text[1:2] == " " else text
    return first if first.endswith((".", "!", "?")) else f"{first.rstrip(',;:')}."


def _mine_keys(codebase: Codebase, path: str) -> Iterator[QAPair]:
    """Ask about the keys of a YAML file that a comment above or beside explains."""
    lines = [line.rstrip("\n") for line in codebase.lines[path]]
    outline: list[tuple[int, str]] = []
    found: dict[str, list[tuple[str, tuple[Evidence, ...]]]] = defaultdict(list)
    for at, line in enumerate(lines):
        match = _KEY.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        while outline and outline[-1][0] >= indent:
            outline.pop()
        outline.append((indent, match["key"]))
        above = _comment_above(lines, at, indent)
        if match["comment"]:
            text, first = match["comment"], at
        elif above and not _shares_comment(lines, at, indent):
            text, first = above
        else:
            continue
        if is_telling(text) and not _CODE_LIKE.search(text):
            dotted = ".".join(key for _, key in outline)
            found[dotted].append((text, codebase.evidence(path, (first + 1, at + 1))))
    for dotted, told in found.items():
        if len(told) == 1:
            text, evidence = told[0]
            yield QAPair(
                "option", f"What is `{dotted}` in `{path}` for?", _sentence(text), evidence
            )


def _comment_above(lines: list[str], at: int, indent: int) -> tuple[str, int] | None:
    """Return the comment that stands right above a line, and its first line."""
    first = at
    texts: list[str] = []
    while first and (match := _COMMENT.match(lines[first - 1])) and len(match["indent"]) == indent:
        first -= 1
        texts.insert(0, match["text"].strip())
    if not texts or any(_CODE_LIKE.search(text) for text in texts):
        return None
    if first == 0:  # it speaks of the whole file
        return None
    return " ".join(texts), first


def _shares_comment(lines: list[str], at: int, indent: int) -> bool:
    """Tell whether the next line is a sibling without comment: what is above is about both."""
    following = lines[at + 1] if at + 1 < len(lines) else ""
    match = _KEY.match(following)
    return match is not None and len(match["indent"]) == indent and not match["comment"]
