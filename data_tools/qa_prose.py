"""What people wrote: sections of documentation as how-to, messages of commits as why.

A how-to's answer is the beginning of its section: the first paragraphs, and the example that
follows. A change's reason is what its message says below the subject; its evidence is lines of
that message, and the definition that the commit changed.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from data_tools.git_commands import open_git
from data_tools.headings import SEPARATOR
from data_tools.history import clean_subject, find_changes
from data_tools.languages import BY_NAME, Kind
from data_tools.pairs import COMMITS, is_test
from data_tools.qa_codebase import MESSAGE_PATH, Codebase, Evidence, QAPair, is_test_path
from data_tools.sections import find_sections
from data_tools.sentences import ends_open, strip_markup
from data_tools.snapshot import GitSnapshot
from data_tools.verbs import find_verb

MAX_ANSWER_WORDS = 80
MIN_ANSWER_WORDS = 8
MAX_CODE_LINES = 12
MIN_REASON_WORDS = 8
MAX_REASON_WORDS = 60
MAX_CHANGED = 2  # definitions, of a commit whose reason is asked for

_FENCE = re.compile(r"^\s*(```|~~~)")
_TRAILER = re.compile(
    r"^[A-Z][\w-]+(?:-[\w-]+)*: |^\(?(?:cherry|from|closes?|fix(?:es)?|refs?|see|related)\b.*#\d",
    re.I,
)
_NOT_PROSE = re.compile(r"^\s*(?:[-*+•]\s|\d+[.)]\s|\||#|>|\.\. |:\w|<|!\[|\[!|={3,}|-{3,}|@)")
_LINKED = re.compile(r"(?<!!)\[([^][]+)\]\([^()]*\)")
_ROLE = re.compile(
    r"(?::|\{)(?P<role>[\w:+-]+)(?::|\})`(?:(?P<title>[^`<]*)<)?[~!]?(?P<target>[^`<>]+?)>?`"
)
_UNREADABLE = re.compile(r"\]\[|\|[^|]+\||\{[{%]|::|<[a-z!/]|\S_\s|\[\^")
# An answer that says where to look, or goes on from what is not quoted.
_PARTIAL = re.compile(
    r"^(?:next|then|first|finally|now|in this|let'?s|let us|also|another|after|similarly|however|"
    r"again|here|we|this|these|it|as (?:mentioned|discussed|noted)|for example|if not|"
    r"to do (?:so|this))\b|"
    r"\b(?:here['’]s how|as follows|see below|above|below|the following|"
    r"following (?:command|example|code))\b[^:]*$|"
    r"(?:steps|options|ways|commands|features|things)[^.]*[:.]$|"
    r"\b(?:rows?|columns?|tables?|figures?|plots?|starred|the example code)\b",
    re.I,
)
_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)[.!?](?=\s|$)")
_PERSONAL = re.compile(r"https?://|@\w|\bI\b|\bPRs?\b|[<>{}|]|#\d|\b[Ff]ix(?:es)? \d")
_SEVERAL = re.compile(r"[;&]|, | and (?!\w+ \w+ for)")
_REASON = re.compile(
    r"\b(?:because|since|so that|otherwise|instead|when|if|previously|before|now|without|avoid|"
    r"prevent|allow|cause[sd]?|lead|led|would|should|need|broke|crash|fail|error|bug|wrong|"
    r"slow|fast|only|no longer|not|n't|cannot|makes?|helps?|in order|for)\b",
    re.I,
)


def mine_howtos(codebase: Codebase) -> Iterator[QAPair]:
    """Ask the questions that the documentation's headings answer, or what it says about them."""
    for file in codebase.files:
        if BY_NAME[file.language].kind is not Kind.PROSE or is_test_path(file.path):
            continue
        lines = codebase.lines[file.path]
        for section in find_sections(file):
            found = _beginning(lines, section.start_line, section.end_line)
            if found is None:
                continue
            answer, last = found
            title = section.outline.rpartition(SEPARATOR)[2]
            question = f"What does `{file.path}` say about “{strip_markup(title)}”?"
            if section.query.endswith("?"):
                question = re.sub(r"\byour\b", "my", section.query)
            yield QAPair(
                "howto", question, answer, codebase.evidence(file.path, (section.start_line, last))
            )


def _beginning(lines: list[str], first: int, last: int) -> tuple[str, int] | None:
    """Take a section's first paragraphs and the first example after them.

    :param first: 1-based, as `last`.
    :return: the answer, and the last line that it is taken from.
    """
    parts: list[str] = []
    words = 0
    stop = first - 1
    for start, end, block in _blocks(lines[first - 1 : last]):
        if block:
            if end - start <= MAX_CODE_LINES + 2:
                parts.append(block)
                stop = first - 1 + end
            break
        paragraph = [line.strip() for line in lines[first - 1 + start : first - 1 + end]]
        text = " ".join(paragraph)
        if _NOT_PROSE.match(lines[first - 1 + start]):
            break
        if words + len(text.split()) > MAX_ANSWER_WORDS:
            break
        parts.append(_plain(text))
        words += len(text.split())
        stop = first - 1 + end
    if words < MIN_ANSWER_WORDS or not parts:
        return None
    answer = "\n\n".join(parts)
    has_example = "```" in answer
    if not has_example and (answer.endswith(":") or not answer.endswith((".", "!", ")"))):
        return None
    prose = re.sub(r"```.*?```", "", answer, flags=re.DOTALL)
    is_open = prose.count("`") % 2 or _UNREADABLE.search(prose) or _PARTIAL.search(prose)
    return None if is_open else (answer, stop)


def _plain(text: str) -> str:
    """Leave the words of links, and the names of roles as code."""
    text = _ROLE.sub(_role, _LINKED.sub(r"\1", text))  # before links of reStructuredText
    text = re.sub(r"(?<!`)`([^`<>]+?)\s*(?:<[^`<>]*>)?`__?", r"\1", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("**", "")


def _role(match: re.Match[str]) -> str:
    """Write a reference of reStructuredText as a reader sees it."""
    role, title, target = match["role"], (match["title"] or "").strip(), match["target"]
    if title:
        return title
    return "::" if role in ("doc", "ref") else f"`{target.rpartition('.')[2] or target}`"


def _blocks(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, code block or "") of each paragraph and example; lines from 0."""
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        start = at
        fence = _FENCE.match(lines[at])
        if fence:
            at += 1
            while at < len(lines) and not lines[at].strip().startswith(fence[1]):
                at += 1
            at += 1
            yield start, min(at, len(lines)), "".join(lines[start:at]).strip("\n")
            continue
        if re.match(r"\s*\.\. code(?:-block)?::", lines[at]):
            tongue = lines[at].partition("::")[2].strip()
            at += 1
            while at < len(lines) and (not lines[at].strip() or lines[at][0] in " \t"):
                at += 1
            body = [line for line in lines[start + 1 : at] if not re.match(r"\s+:\w+:", line)]
            yield start, at, f"```{tongue}\n{_dedent(body)}\n```"
            continue
        while at < len(lines) and lines[at].strip() and not _FENCE.match(lines[at]):
            at += 1
        if lines[start][:4].isspace() and start:
            yield start, at, f"```\n{_dedent(lines[start:at])}\n```"
        else:
            yield start, at, ""


def _dedent(lines: list[str]) -> str:
    return textwrap.dedent("".join(lines)).strip("\n")


@dataclass(frozen=True)
class _Message:
    sha: str
    lines: tuple[str, ...]


def mine_reasons(codebase: Codebase, *, limit: int = COMMITS) -> Iterator[QAPair]:
    """Ask why definitions were changed.

    :param limit: how many commits are looked at, newest first.
    """
    snapshot = codebase.snapshot
    if not isinstance(snapshot, GitSnapshot):
        return
    messages = _read_messages(snapshot, limit)
    asked: set[str] = set()
    for change in find_changes(snapshot, codebase.definitions, limit=limit):
        changed = [each for each in change.definitions if not is_test(each)]
        message = messages.get(change.subject)
        purpose = _purpose(change.subject)
        if purpose is None or message is None or not 0 < len(changed) <= MAX_CHANGED:
            continue
        said, last = _reason(message) or ("", 1)
        for each in changed:
            title = codebase.title(each)
            if title is None or title in asked:  # the newest change is the one asked about
                continue
            asked.add(title)
            line = codebase.name_line(each)
            told = Evidence(codebase.name, message.sha, MESSAGE_PATH, 1, last)
            yield QAPair(
                "why",
                f"Why was {title} changed recently?",
                f"{purpose} {said}".rstrip(),
                (told, *codebase.evidence(each.path, (line, line))),
            )


def _purpose(subject: str) -> str | None:
    """Put a subject that begins with a verb as what was intended: "To handle empty files."."""
    words = subject.split()
    verb = find_verb(words)
    if verb is None or not words[1:] or _SEVERAL.search(subject):
        return None
    return f"To {verb[0]} {' '.join(words[1:]).rstrip('.')}."


def _read_messages(snapshot: GitSnapshot, limit: int) -> dict[str, _Message]:
    """Read the messages of the newest commits, by their subjects as `find_changes` gives them."""
    found: dict[str, _Message] = {}
    if limit < 1:
        return found
    with open_git(snapshot.git_folder) as command:
        listing = str(
            command.rev_list(
                "--no-merges",
                "--format=%x01%B%x02",
                "--encoding=UTF-8",
                f"--max-count={limit}",
                snapshot.repository.commit,
            )
        )
    for entry in listing.split("\x02"):
        head, _, body = entry.partition("\x01")
        words = head.split()
        lines = body.rstrip().split("\n")
        subject = clean_subject(lines[0]) if len(words) == 2 else None
        if subject:
            found[subject] = _Message(words[1], tuple(lines))
    return found


def _reason(message: _Message) -> tuple[str, int] | None:
    """Return what the first paragraph below a subject gives as a reason, and its last line."""
    lines = message.lines
    start = next((at for at in range(1, len(lines)) if lines[at].strip()), len(lines))
    stop = next((at for at in range(start, len(lines)) if not lines[at].strip()), len(lines))
    paragraph = [line.strip() for line in lines[start:stop]]
    if (
        start < 2
        or not paragraph
        or any(_TRAILER.match(line) or _NOT_PROSE.match(line) for line in paragraph)
    ):
        return None
    text = " ".join(paragraph)
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    said = next(
        (text[:end] for end in reversed(ends) if len(text[:end].split()) <= MAX_REASON_WORDS), ""
    )
    if len(said.split()) < MIN_REASON_WORDS or not said[0].isalpha() or ends_open(said.rstrip(".")):
        return None
    if _PERSONAL.search(said) or not _REASON.search(said) or said.count("`") % 2:
        return None
    return said[0].upper() + said[1:], stop
