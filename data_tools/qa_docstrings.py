"""Docstrings both ways: what something does, and which one does it.

The answer is the first sentence of the docstring, put so that it answers; the names that the
docstring marks as code stay marked. Asked the other way round, the sentence becomes the question,
and a question that several definitions answer is left out by `data_tools.qa_pairs`.
"""

import re
from collections.abc import Iterator

from data_tools.docstrings import Definition
from data_tools.qa_codebase import Codebase, QAPair
from data_tools.rewrites import ask_docstring, lower_first
from data_tools.sentences import first_sentence
from data_tools.verbs import find_verb, third_person

_ARTICLE = re.compile(r"(?:an?|the)\s", re.I)
_MARKED = re.compile(r"``?([^`\n]+?)``?(?!`)")
_ROLE_TARGET = re.compile(r"^(?:[^<]*<)?[~!.]?([^<>]+?)>?$")
_PASSIVE = re.compile(
    r"(?:called|invoked|raised|thrown|executed|triggered|emitted|used|run|sent|returned) "
    r"(?:when|whenever|if|by|for|to|at|after|before|on|in|once|as|during)\b",
    re.I,
)
_ADVERB = re.compile(r"[A-Z][a-z]+ly [a-z]+s\b")
_UNCLEAR = re.compile(r"\b(?:itself|themselves)\b|(?<!^)\bwhat\b")
_SEVERAL_VERBS = re.compile(r",|\s(?:and|or|then)\s")
_FRAME = " \t\n*/#!\"'r"  # what stands around a docstring's words
_CODE_WORD = re.compile(r"[\w.]*[\w)]")


def mine_docstrings(codebase: Codebase) -> Iterator[QAPair]:
    """Ask what each documented definition does."""
    for each in codebase.outside_tests:
        sentence, title = _sentence(each), codebase.title(each)
        if sentence and title:
            question, answer = _tell(each, title, mark_code(sentence, each.docstring))
            lines = codebase.evidence(each.path, *_told_in(codebase, each))
            yield QAPair("docstring", question, answer, lines)


def mine_lookups(codebase: Codebase) -> Iterator[QAPair]:
    """Ask for the definition that does what a docstring says."""
    for each in codebase.outside_tests:
        sentence, title = _sentence(each), codebase.title(each)
        question = ask_docstring(sentence, noun=each.noun) if sentence and title else None
        if question is None or _UNCLEAR.search(question):
            continue
        spans = _told_in(codebase, each)
        name = f"`{each.name}`"
        owner = _owner(codebase, each)
        if owner is not None:
            line = codebase.name_line(owner)
            spans.append((line, line))
            name = f"{name} of `{owner.name}`"
        place = f"{name}, in `{each.path}`."
        if question.startswith("Where"):
            answer = f"In {place}"
        elif not question.startswith("How do I"):
            answer = f"The {each.noun} {place}"
        elif each.name.startswith("_"):
            answer = f"The {each.noun} {place[:-1]}, does that."
        else:
            answer = f"Use {place}"
        yield QAPair("lookup", question, answer, codebase.evidence(each.path, *spans))


def _owner(codebase: Codebase, definition: Definition) -> Definition | None:
    """Find the type that a method is defined in, if that is in the same file."""
    symbol = definition.symbol[: -len(definition.name)].rstrip(".:")
    inside = (each for each in codebase.definitions[definition.path] if each.symbol == symbol)
    return next((each for each in inside if each.is_type), None) if symbol else None


def _sentence(definition: Definition) -> str | None:
    """Return what a docstring says first, without the name that some languages begin with."""
    first, _, rest = definition.docstring.partition(" ")
    if first != definition.name:
        return first_sentence(definition.docstring)
    return first_sentence(rest[:1].upper() + rest[1:])


def mark_code(sentence: str, docstring: str) -> str:
    """Put into backticks again what a docstring marks as code, and nothing else."""
    targets = map(_ROLE_TARGET.match, _MARKED.findall(docstring[:1_000]))
    marked = dict.fromkeys(match[1] for match in targets if match)
    names = [name for name in marked if _CODE_WORD.fullmatch(name)]
    parts = {part for name in names for part in (name, name.rpartition(".")[2]) if part}
    for part in sorted(parts, key=len, reverse=True):
        sentence = re.sub(rf"(?<![\w`.]){re.escape(part)}(?![\w`])", f"`{part}`", sentence)
    return sentence


def _tell(definition: Definition, title: str, sentence: str) -> tuple[str, str]:
    """Ask about a definition, and answer with its sentence."""
    words = sentence.split()
    rest = " ".join(words[1:])
    if _PASSIVE.match(sentence):
        return f"What is {title} for?", f"It is {lower_first(sentence)}."
    if _ADVERB.match(sentence):
        return f"What does {title} do?", f"It {lower_first(sentence)}."
    verb = find_verb(words)
    if _ARTICLE.match(sentence):
        opening = "It is " if definition.is_type else ""
        answer = opening + (lower_first(sentence) if opening else sentence)
        return f"What is {title}?", f"{answer}."
    if verb is None:
        asked = "What is" if definition.is_type else "What does"
        return f"{asked} {title}{'' if definition.is_type else ' do'}?", f"{sentence}."
    base, is_third = verb
    if is_third:
        return f"What does {title} do?", f"It {words[0].lower()} {rest}."
    if _SEVERAL_VERBS.search(rest):  # each would have to agree
        return f"What is {title} for?", f"To {words[0].lower()} {rest}."
    return f"What does {title} do?", f"It {third_person(base)} {rest}."


def _told_in(codebase: Codebase, definition: Definition) -> list[tuple[int, int]]:
    """Return the lines that say what a definition is called, and what its first paragraph says."""
    first, last = definition.docstring_lines
    lines = codebase.lines[definition.path]
    stop = first
    while stop < last and (lines[stop].strip(_FRAME) or not lines[stop - 1].strip(_FRAME)):
        stop += 1
    name_line = codebase.name_line(definition)
    spans = [(name_line, name_line), (first, stop)]
    return [(min(name_line, first), max(name_line, stop))] if first <= name_line else spans
