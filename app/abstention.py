"""Whether the evidence is good enough to answer from, and what it lacks where it is not.

Two signs, both cheap beside the search itself. A question about names of code, none of which the
index holds in any spelling, is about something else. And evidence is weak if no passage is near to
the question, neither in meaning nor in words. Where either holds, nothing is answered. No model is
asked, nothing is searched again, and nothing is fitted to the names of a repository.

The cosine's part is that of the packaged embedding model; another one's may lie higher or lower.
`benchmarks/abstention.py` measures both signs on repositories that they were not chosen on.
"""

import builtins
import re
from collections.abc import Mapping, Sequence

from retrieval.index import CodeIndex
from retrieval.lexical import query_tokens, split_words, stem, tokenize
from retrieval.question_kind import question_kind
from retrieval.search import Hit

# Evidence is weak if best cosine + COVERAGE_WEIGHT * best coverage is below MIN_STRENGTH. The
# weight is the ratio of the coefficients of a logistic regression that tells questions about
# composer from questions about pylint, by what either index finds; the least strength is that of
# the weakest 1 % of the questions that the right index was asked. So is MIN_COVERAGE.
COVERAGE_WEIGHT = 0.36
MIN_STRENGTH = 0.54
MIN_COVERAGE = 0.34  # while there are no vectors
# In words that stand nowhere else: who asks at length is not held to all of it. Of 2, 3 and 4, the
# one that left fewest of the developers' questions unanswered.
ENOUGH_WORDS = 3.0
MIN_NAME_CHARS = 4  # of a name in plain letters, such as `main`: shorter ones are everywhere

# What is asked for, in any repository; code that answers seldom says so of itself.
_KINDS_OF_CODE = frozenset(
    stem(
        "argument attribute call class code constant define exception field file function "
        "implement line method module object package parameter purpose repository return script "
        "type value variable work"
    ).split()
)
_QUOTED = re.compile(r"`([^`\n]+)`")
_WORD = re.compile(r"[^\W\d]\w*(?:-\w+)*(?P<call>\(\))?")
_JOINTS = re.compile(r"[ \t_-]+")
_BUILTINS = frozenset(dir(builtins))


def missing_words(index: CodeIndex, question: str, hits: Sequence[Hit]) -> list[str] | None:
    """Judge the evidence: None if it is good enough, else the telling words it does not hold.

    :param hits: the evidence, best first.
    :return: names that are nowhere first, then words, the rarest first.
    """
    tokens = query_tokens(question)
    telling = [token for token in tokens if token not in _KINDS_OF_CODE] or tokens
    weights = dict(zip(telling, index.rarity(telling), strict=True))
    held = [_tokens_of(hit) for hit in hits]
    names = _unknown_names(index, question, hits)
    if hits and not names and not _is_weak(weights, held, hits):
        return None
    everywhere = frozenset[str]().union(*held)
    absent = (token for token in telling if token not in everywhere)
    missing = sorted(absent, key=lambda token: -weights[token])
    words = {token: word for word in question.split() for token in query_tokens(word)}
    shown = (words.get(token, token).strip("?!.,;:()[]'\"`") for token in missing)
    return list(dict.fromkeys([*names, *(word for word in shown if word)]))


def coverage(weights: Mapping[str, float], held: frozenset[str]) -> float:
    """Return how much of the question's words a passage holds, weighed by rarity.

    The words held over all words, or over `ENOUGH_WORDS` if that is less, and 1 at most.

    :param weights: search token of the question → rarity, in [0, 1].
    :param held: search tokens of the passage.
    :return: in [0, 1]; 0 for a question without weight.
    """
    wanted = min(sum(weights.values()), ENOUGH_WORDS)
    return (
        min(sum(weights[token] for token in weights.keys() & held) / wanted, 1.0) if wanted else 0.0
    )


def find_names(question: str) -> list[str]:
    """Find the names of code in a question: quoted as code, called, or spelt as only code is.

    Names of Python itself are left out: `ValueError` is nobody's own.
    """
    names: dict[str, None] = {}
    quoted = " ".join(_QUOTED.findall(question))
    for text, is_code in ((quoted, True), (_QUOTED.sub(" ", question), False)):
        for match in _WORD.finditer(text):
            name = match[0].removesuffix("()")
            parts = [part for part in split_words(name).split() if part.isalpha()]
            is_spelt = len(parts) > 1 and "-" not in name
            is_marked = (is_code or match["call"]) and len(name) >= MIN_NAME_CHARS
            if (is_spelt or is_marked) and name not in _BUILTINS:
                names[name] = None
    return list(names)


def _tokens_of(hit: Hit) -> frozenset[str]:
    text = f"{hit.chunk.path} {hit.chunk.symbol} {hit.chunk.text}"
    return frozenset(stem(" ".join(set(tokenize(text)))).split())


def _is_weak(
    weights: Mapping[str, float], held: Sequence[frozenset[str]], hits: Sequence[Hit]
) -> bool:
    """Tell whether no passage is near to the question, in meaning or in words."""
    best = max(coverage(weights, tokens) for tokens in held)
    cosine = max((hit.cosine for hit in hits if hit.cosine is not None), default=None)
    if cosine is None:
        return best < MIN_COVERAGE
    return cosine + COVERAGE_WEIGHT * best < MIN_STRENGTH


def _unknown_names(index: CodeIndex, question: str, hits: Sequence[Hit]) -> list[str]:
    """Return the question's names if the index holds none of them.

    An error message may name what is the asker's own, so its names prove nothing.
    """
    names = find_names(question)
    if not names or question_kind(question) == "error":
        return []
    texts = (f"{hit.chunk.path}\n{hit.chunk.symbol}\n{hit.chunk.text}" for hit in hits)
    evidence = _JOINTS.sub("", "\n".join(texts).lower())
    joined = [_JOINTS.sub("", name.lower()) for name in names]
    if any(name.removesuffix("s") in evidence for name in joined):
        return []
    rarities = index.rarity([stem(name) for name in joined])
    return names if min(rarities) == 1.0 else []
