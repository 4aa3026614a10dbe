"""The first sentence of a docstring or section, as plain words: what a person might type.

Markup of reStructuredText, Markdown, Javadoc and rustdoc is taken off. Sentences that say nothing
about what they document ("Initialize self", "TODO") are refused, as are those too short or long to
be a question.
"""

import re

MIN_WORDS = 4
MAX_WORDS = 40
MAX_CHARS = 1_000  # looked at: the first sentence lies within, or is too long

_ROLE = re.compile(r":?\b[\w+-]+(?::[\w+-]+)*:`(?:[^`<]*<)?[~!]?([^`<>]+)>?`")
_LINK = re.compile(r"!?\[([^][]*)\](?:\([^()]*\)|\[[^][]*\])?")
_RST_LINK = re.compile(r"`([^`<]+?)\s*<[^`<>]*>`__?|`([^`]+)`__?")
_JAVADOC = re.compile(r"\{@\w+\s+([^{}]*)\}")
_HTML = re.compile(r"</?[a-zA-Z][^<>]*>")
_MARKS = re.compile(r"`+|\*\*|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)")
_PARAGRAPH_END = re.compile(
    r"^\s*(?:$|:\w[\w *]*:(?!`)|[@\\]\w|>>>|\.\. |[-*+] |\d+[.)] |[-=~^#*]{3,}|```|[|]|#+ "
    r"|(?:Args?|Arguments|Params?|Parameters|Returns?|Yields?|Raises|Examples?|Notes?|Usage|"
    r"Attributes|See Also|Warnings?)\s*:?\s*$)"
)
# A full stop that ends a sentence: not that of "e.g." or "v1.2".
_SENTENCE_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\bal)(?<!\bno)[.!?](?=\s+[A-Z\"'(]|\s*$)"
)
_BOILERPLATE = re.compile(
    r"(?:initiali[sz]es? (?:self|the (?:class|object|instance)|a new instance)|constructor|"
    r"return repr|"
    r"tests?\b|unit tests?|todo|fixme|xxx|hack|see |see also|deprecated|alias|same as|like |"
    r"inherited|overrid|auto-?generated|generated|copyright|licensed|note\b|internal|"
    r"this (?:class|function|method|module|test|file|is)\b|for internal|do not|don't|please|"
    r"implementation of|implements?\b.*\binterface|dummy|placeholder|noqa|pylint:|eslint|@)",
    re.I,
)
# A line that begins so, below one that is not full, is a sentence of its own.
_NEW_SENTENCE = re.compile(r"[A-Z][a-z]+ [a-z]|(?:A|NB:?) ")
FULL_LINE_CHARS = 60
_DANGLING = re.compile(
    r"\b(?:a|an|the|of|to|for|with|and|or|from|in|on|by|as|at|is|are|that|which|into|after|before|"
    r"like|using|via|e\.g|i\.e)$",
    re.I,
)
_WORD = re.compile(r"[^\W\d_]{2,}")
MIN_TELLING_WORDS = 3
_VAGUE = frozenset(
    "about all an and any are as at be been by can class current do does each for from function "
    "get given has have helper if in instance into is it its may method new not object of on one "
    "only or other self set should some specified such than that the their them then these this "
    "to use used using value values was when where whether which will with".split()
)


def first_sentence(text: str) -> str | None:
    """Return the first sentence of a docstring or paragraph without markup and full stop.

    :return: between `MIN_WORDS` and `MAX_WORDS` words, or None if there is nothing to ask from it.
    """
    lines: list[str] = []
    for line in text.strip()[:MAX_CHARS].split("\n"):
        if lines and (_PARAGRAPH_END.match(line) or _is_new_sentence(lines[-1], line)):
            break
        lines.append(line.strip())
    plain = strip_markup(" ".join(lines))
    end = _SENTENCE_END.search(plain)
    sentence = (plain[: end.start()] if end else plain).strip(" *")
    return sentence if is_worth_asking(sentence) else None


def _is_new_sentence(before: str, line: str) -> bool:
    return (
        len(before) < FULL_LINE_CHARS
        and _NEW_SENTENCE.match(line.strip()) is not None
        and not ends_open(before)
    )


def ends_open(text: str) -> bool:
    """Tell whether a text breaks off: at a word or bracket that something must follow."""
    return bool(_DANGLING.search(text)) or text.count("(") != text.count(")")


def strip_markup(text: str) -> str:
    """Leave the words of roles, links, emphasis and tags; white space becomes single blanks."""
    text = _ROLE.sub(lambda match: _last_part(match[1]), text)
    text = _JAVADOC.sub(r"\1", text)
    text = _RST_LINK.sub(lambda match: match[1] or match[2], text)
    text = _HTML.sub("", _LINK.sub(r"\1", text))
    return " ".join(_MARKS.sub("", text.replace("\\", "")).split())


def _last_part(name: str) -> str:
    """Shorten `package.module.Class` as the `~` of a role does; leave text with blanks."""
    return name if " " in name else name.rpartition(".")[2] or name


def is_worth_asking(sentence: str) -> bool:
    """Tell whether a sentence says something of its own, in words, at a question's length."""
    words = sentence.split()
    telling = [word for word in words if _WORD.search(word)]
    return (
        MIN_WORDS <= len(words) <= MAX_WORDS
        and len(telling) * 4 >= len(words) * 3
        and sum(word.strip(",;'\"()").lower() not in _VAGUE for word in telling)
        >= MIN_TELLING_WORDS
        and not sentence.endswith((":", ",", "(", "::"))
        and not _BOILERPLATE.match(sentence)
        and not ends_open(sentence)
        and not re.search(r"https?://|[{}<>|=]|\.\.\.$|::", sentence)
        and sentence[0].isalnum()
    )
