"""A follow-up question made to stand alone, so that retrieval can find what it is about.

With a language model, the model rewrites it. Without one, a pronoun is replaced by what the last
question was about, or that is appended. The rewrite is always shown to the person who asked.
"""

import re
from collections.abc import Sequence

from retrieval.lexical import STOP_WORDS
from retrieval.prompt import Turn

MAX_TOPIC_WORDS = 8
MIN_CONTENT_WORDS = 2  # a question with as many words of its own needs no topic added

_PRONOUN = re.compile(r"\b(it|its|this|that|these|those|them|they|one|ones|there)\b", re.I)
_OPENING = re.compile(r"^(?:and|but|so|also|ok|okay|then|what about|how about)\b[,:]?\s*", re.I)
_DEFINES = re.compile(r"(what|who|where|how|which)\W+(is|are|does|do)\b", re.I)
_WORD = re.compile(r"[\w.:/-]*\w")


def stand_alone(question: str, history: Sequence[Turn]) -> str:
    """Rewrite a follow-up by rule.

    :param history: earlier turns, oldest first; their questions stand alone already.
    :return: the question as it is where there is no history or it needs none.
    """
    if not history:
        return question
    topic = _topic(history[-1].question)
    rest = _OPENING.sub("", question.strip())
    pronoun = _PRONOUN.search(rest)
    if not topic or not (pronoun or rest != question.strip() or _is_fragment(rest)):
        return question
    if pronoun and pronoun[0].lower() not in ("its", "there"):
        return rest[: pronoun.start()] + topic + rest[pronoun.end() :]
    return f"{rest.rstrip('?. ')} ({topic})?"


def _is_fragment(question: str) -> bool:
    """Tell whether a question names too little to be searched for by itself."""
    own = [word for word in _WORD.findall(question) if word.lower() not in STOP_WORDS]
    names_something = any(re.search(r"[a-z][A-Z]|_|\d|^[A-Z]{2}", word) for word in own)
    asks_for_it = own and _DEFINES.match(question)
    return len(own) < MIN_CONTENT_WORDS and not names_something and not asks_for_it


def _topic(question: str) -> str:
    """Return what a question is about: the words after its last stop word."""
    run: list[str] = []
    best: list[str] = []
    for word in _WORD.findall(question):
        if word.lower() in STOP_WORDS:
            run = []
        else:
            run.append(word)
            best = run
    return " ".join(best[-MAX_TOPIC_WORDS:])
