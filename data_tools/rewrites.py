"""Statements made into questions: "Save a checkpoint." becomes "How do I save a checkpoint?".

Templates alone, no model: the same sentence gives the same question always, and the one of
several templates is chosen by a hash of it. What fits no template gives no question, rather than
a clumsy one.
"""

import hashlib
import re
from collections.abc import Sequence

from data_tools.sentences import ends_open
from data_tools.verbs import find_verb, past_participle, third_person, verb_of_gerund

MAX_WORDS = 22  # of a statement; longer ones make questions that nobody would ask
_ASIDE = re.compile(r"\s*\([^()]*\)")
_CLAUSE_END = re.compile(
    r"\s*(?:;|,? (?:--|–|—) |: ).*$|,? (?:so that|which means|i\.e\.|e\.g\.).*$"
)  # noqa: RUF001
_DEICTIC = re.compile(
    r"\b(?:this|these|those|here|above|below|following|we|our|us|I|my|you|self|current|he|her)\b",
    re.I,
)
_WHETHER = re.compile(
    r"(?:(?:returns?|checks?|tests?|determines?|indicates?|tells?|decides?|verif(?:y|ies)|asserts?|"
    r"ensures?|sees?)\s+)?"
    r"(?:(?P<bool>(?:returns?\s+)?true|(?:returns?\s+)?a bool\w*(?: indicating| flag| value)?)\s+)?"
    r"(?P<word>whether(?: or not)?|if)\s+(?P<rest>.+)",
    re.I,
)
_OTHERWISE = re.compile(
    r",?\s+(?:(?:(?:and|or|else|otherwise) )?(?:returns? )?false|else|otherwise|or not)\b.*$", re.I
)
_GET = frozenset("return get retrieve fetch obtain give provide yield".split())
_RAISED = re.compile(r"(?:(?:an? )?(?:error|exception) )?(raised|thrown|emitted) (.+)", re.I)
_NOUN_PHRASE = re.compile(
    r"(?P<article>(?:an?|the)\s+)?(?P<noun>(?:[\w'-]+\s+){0,4}?[\w'-]+)\s+"
    r"(?P<link>that|which|for|to|of|around|used|containing|representing|with|from|in|on|holding)\s+.+",
    re.I,
)
_LINK = "(?:to|from|into|in|for|with|on|at|by|as|using|when|before|after|if|that|which|through|so)"
_OBJECT = re.compile(
    rf"(?P<object>(?:an?|the)(?:\s+(?!{_LINK}\b)[\w'-]+){{1,4}})(?:\s+(?P<rest>{_LINK}\s+.+))?"
)
_NEXT_VERB = re.compile(
    r"(?P<before>(?:,? (?:and|or|then)|,)(?: then| optionally| also)?) "
    r"(?!(?:and|or|then) )(?P<verb>[a-z]+) "
    r"(?P<next>an?\b|the\b|it\b|them\b|its\b|their\b|all\b|each\b|[a-z]+)"
)
_PLURAL = re.compile(r"(?<![su])s$|(?:data|children|indices)$", re.I)
_DETERMINERS = frozenset("a an the all any each its your multiple several custom".split())
_DIRECTIONS = frozenset("from to into with in on using".split())
_POSTPONED = (
    "suitable",
    "according",
    "based",
    "given",
    "specific",
    "corresponding",
    "needed",
    "required",
)
_PREPOSITIONS = frozenset("of for with that from in to on by as into".split())
_SMALL_WORDS = frozenset(
    "a an and as at by for from in into of on or the to via with your is are".split()
)


def ask_docstring(sentence: str, *, noun: str) -> str | None:
    """Turn the first sentence of a docstring into the question that its definition answers.

    :param sentence: as `data_tools.sentences.first_sentence` returns it.
    :param noun: what it documents, as `Definition.noun`.
    :return: the question, or None if no template fits.
    """
    plain = sentence
    while (shorter := _ASIDE.sub("", plain)) != plain:  # one inside the other
        plain = shorter
    plain = _CLAUSE_END.sub("", plain).strip(" .,")
    words = plain.split()
    if not 3 <= len(words) <= MAX_WORDS or _DEICTIC.search(plain) or re.search(r"[.!?]\s", plain):
        return None
    ask = _ask_function if noun in ("function", "method") else _ask_type
    question = ask(plain, words, noun, _Pick(sentence))
    return None if question is None or ends_open(question.rstrip("?")) else question


class _Pick:
    """Chooses among templates, evenly over sentences and always the same for one."""

    def __init__(self, key: str) -> None:
        self._number = int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8])

    def __call__(self, templates: Sequence[str]) -> str:
        return templates[self._number % len(templates)]


def _ask_function(plain: str, words: list[str], noun: str, pick: _Pick) -> str | None:
    if (match := _WHETHER.fullmatch(plain)) and not (
        words[0].lower() == "if" and not match["bool"]
    ):
        rest = _OTHERWISE.sub("", match["rest"]).strip(" ,")
        if len(rest.split()) < 2 or _has_finite_verb(rest.split()[:1]):
            return None
        return pick((f"How do I check whether {rest}?", f"Which {noun} tells whether {rest}?"))
    verb = find_verb(words)
    if verb is None:
        if words[0].lower() in ("a", "an", "the") and not _has_finite_verb(words):
            return f"How do I get {lower_first(plain)}?"
        return None
    base, _ = verb
    rest = " ".join(words[1:])
    if base in _GET and words[1].lower() in ("if", "early", "without"):
        return None
    how = f"How do I {'get' if base in _GET else base} {_agree(rest, third=False)}?"
    which = f"Which {noun} {third_person(base)} {_agree(rest, third=True)}?"
    where = _ask_where(base, rest)
    if base in _GET:
        return (
            which if words[1].lower() in ("how", "what", "which", "where") else pick((how, which))
        )
    return pick((how, which, where) if where else (how, which))


def _ask_where(verb: str, rest: str) -> str | None:
    """Put it in the passive, "Where is a checkpoint saved to disk?", if the object is plain."""
    match = _OBJECT.fullmatch(rest)
    if match is None or " and " in rest or match["object"].endswith(_POSTPONED):
        return None
    thing = match["object"]
    head = thing.partition(" of ")[0].split()[-1]
    is_plural = _PLURAL.search(head) and thing.startswith("the")
    tail = f" {match['rest']}" if match["rest"] else ""
    return f"Where {'are' if is_plural else 'is'} {thing} {past_participle(verb)}{tail}?"


def _agree(text: str, *, third: bool) -> str:
    """Put the verbs that go on a sentence ("… and returns it") into the form of its first one."""

    def inflect(match: re.Match[str]) -> str:
        verb = find_verb([match["verb"], match["next"]])
        if verb is None or match["verb"] != match["verb"].lower():
            return match[0]
        form = third_person(verb[0]) if third else verb[0]
        return f"{match['before']} {form} {match['next']}"

    return _NEXT_VERB.sub(inflect, text)


def _ask_type(plain: str, words: list[str], noun: str, pick: _Pick) -> str | None:
    if match := _RAISED.fullmatch(plain):
        return f"Which exception is {match[1].lower()} {match[2]}?"
    verb = find_verb(words)
    match = _NOUN_PHRASE.fullmatch(plain)
    if verb is not None and not (match and match["article"]):
        base, _ = verb
        rest = " ".join(words[1:])
        rest = _agree(rest, third=True)
        return pick(
            (f"Which {noun} {third_person(base)} {rest}?", f"What {third_person(base)} {rest}?")
        )
    if match is None or _has_finite_verb(match["noun"].split()):
        return None
    head = match["noun"].split()[-1]
    if of_its_kind := re.fullmatch(rf"(?:an?|the) {noun} (that |which )?(.+)", plain, re.I):
        return f"Which {noun} {'' if of_its_kind[1] else 'is '}{of_its_kind[2]}?"
    if match["article"]:
        return f"Which {noun} is {lower_first(plain)}?"
    if any(_PLURAL.search(word) for word in (words[0], head)) or head.endswith(("ing", "ed")):
        return None
    article = "the" if match["noun"].lower().startswith(("base", "main", "default")) else None
    article = article or ("an" if words[0][0].lower() in "aeio" else "a")
    return f"Which {noun} is {article} {lower_first(plain)}?"


def _has_finite_verb(words: Sequence[str]) -> bool:
    """Tell whether these are a clause rather than the name of a thing."""
    finite = {"is", "are", "was", "were", "has", "have", "can", "must", "should", "will", "may"}
    return any(word.lower() in finite for word in words)


def ask_heading(title: str) -> str | None:
    """Turn a heading into the question that its section answers: "Saving a model", "How to …".

    :return: the question, or None for headings that merely name a thing.
    """
    words = title.rstrip(" :?").split()
    if title.lower().startswith("how to ") and len(words) >= 4:
        return f"How do I {lower_case(words[2:])}?"
    if title.endswith("?"):
        return f"{' '.join(words)}?" if len(words) >= 4 else None
    if len(words) < 3 or re.search(r"[|<>{}=&/]", title):
        return None
    verb = verb_of_gerund(words[0])
    if verb is None and (found := find_verb(words)) and not found[1] and _has_object(words):
        verb = found[0]
    if verb is None or "and" in words or words[1].lower() in _PREPOSITIONS:
        return None
    return f"How do I {lower_case([verb, *words[1:]])}?"


def _has_object(words: Sequence[str]) -> bool:
    """Tell "Save the interval" and "Save models to disk" from the noun "Save interval"."""
    rest = [word.lower() for word in words[1:]]
    return rest[0] in _DETERMINERS or not _DIRECTIONS.isdisjoint(rest[1:])


def lower_first(text: str) -> str:
    """Lower the first letter, but not that of a name such as `HTTPServer`."""
    first, blank, rest = text.partition(" ")
    return (first.lower() if first[1:].islower() or len(first) == 1 else first) + blank + rest


def lower_case(words: Sequence[str]) -> str:
    """Undo title case; where only some words have it, they are names."""
    rest = list(words[1:])
    if all(word[0].isupper() or word in _SMALL_WORDS for word in rest):
        rest = [word.lower() if word[1:].islower() else word for word in rest]
    return " ".join([lower_first(words[0]), *rest])
