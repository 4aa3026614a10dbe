"""What kind of question is asked, and how the ranking weighs each kind.

A name pasted from code, an error message and a sentence want different evidence: words find a
message that vectors miss, and one who asks about a class does not want the tutorial. Pure
functions; the weights were chosen on the development questions of `benchmarks/RESULTS.md`.
"""

import re
from dataclasses import dataclass
from typing import Literal

from retrieval.lexical import STOP_WORDS

Kind = Literal["name", "term", "error", "code", "usage", "other"]


@dataclass(frozen=True)
class Weights:
    """How much each sign counts.

    :param dense: share of the vectors in the fused score, in [0, 1]; the rest is BM25's.
    :param prose: factor on the score of documentation.
    :param definition: factor on the score of a chunk that defines what the question names.
    """

    dense: float = 0.5
    prose: float = 1.0
    definition: float = 1.0


WEIGHTS: dict[Kind, Weights] = {
    "name": Weights(
        dense=0.3, definition=1.5
    ),  # `EarlyStopper`: whoever types it seeks where it is
    "term": Weights(definition=1.1),  # What is ALiBi? Perhaps what is defined under that name
    "error": Weights(dense=0.3, prose=0.7),  # a message is found word for word
    "code": Weights(prose=0.7),  # Which class …? Where is … implemented?
    "usage": Weights(prose=1.2),  # How do I …? How to install …
    "other": Weights(),
}

MAX_NAME_WORDS = 2  # a longer question says more than a name
MIN_NAME_CHARS = 3  # shorter names occur in questions by chance

_ERROR = re.compile(
    r"Traceback \(most recent|\b[A-Z]\w*(Error|Exception|Warning)\b\s*[:(]"
    r"|\b(error|panic|fatal): |\bpanicked at\b"
)
_IDENTIFIER = re.compile(r"\w_\w|[a-z][A-Z]|\w\(\)|\w::\w|\w\.[a-z_]\w+\b|^[A-Z]\w+$")
_CODE = re.compile(
    r"\b((sub|meta|data)?class(es)?|methods?|functions?|modules?|attributes?|decorators?|inherit\w*|"
    r"exceptions?|implement(ation|ations|ed)|constructors?|initiali[sz]er|variables?|callbacks?|"
    r"overrid\w*|enums?|structs?|traits?|interfaces?|descriptors?|parsers?|iterators?|generators?|"
    r"algorithms?|callers?|subroutines?|predicates?|defined|logic)\b|\w_\w|\w\(\)|\w::\w",
    re.I,
)
_USAGE = re.compile(
    r"\bhow (to|do (i|you|we|users?)|can (i|you|we)|should (i|we))\b"
    r"|\b(install\w*|getting started|set ?up|tutorials?|guides?|documentation|faq)\b",
    re.I,
)


def question_words(question: str) -> frozenset[str]:
    """Return the words of a question that could be names: lower case, identifiers whole."""
    words = (word.lower() for word in re.findall(r"\w+", question))
    return frozenset(
        word for word in words if len(word) >= MIN_NAME_CHARS and word not in STOP_WORDS
    )


def question_kind(question: str) -> Kind:
    """Tell what kind of question it is, from its wording alone."""
    if _ERROR.search(question):
        return "error"
    if len(question_words(question)) <= MAX_NAME_WORDS:
        words = question.strip(" ?`'\"").split()
        alone = len(words) == 1
        return "name" if alone and _IDENTIFIER.search(words[0]) else "term"
    if _CODE.search(question):
        return "code"
    return "usage" if _USAGE.search(question) else "other"
