"""Example questions drawn from what is indexed, for a conversation that has not begun.

Only what looks worth asking about is asked about: a repository with a README, headings that say
how something is done, and documented definitions that much else mentions. Tests, examples,
private names and names that could mean anything are left out. The same index always gives the
same questions.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from data_tools.chunk import Chunk
from data_tools.headings import SEPARATOR
from data_tools.languages import BY_NAME, Kind
from data_tools.text import split_lines
from retrieval.index import CodeIndex
from retrieval.lexical import query_tokens
from retrieval.rank import path_prior

EXAMPLES = 4
MAX_REPOSITORIES = 4  # more would not be asked about in so few questions
MAX_CHUNKS = 50_000  # of one repository; reading more would keep the page waiting
MAX_HEADING_CHARS = 48
MIN_NAME_CHARS = 5
ENOUGH_DOCUMENTATION = 12  # lines: what has as many is written for others to use
TYPE_WEIGHT = 0.2  # of that for types: those that all else mentions say more than the long ones
SIGNATURE_LINES = 24  # a longer one hides its docstring

# Words too general to ask about by themselves.
_GENERAL = frozenset(
    "apply args base build builder cache call check class client close config configuration "
    "context convert copy create data default delete error event exception execute factory field "
    "filter format function get handle handler helper helpers index init initialize install "
    "instance item items iter label list load loader logger main make manager map message method "
    "mode model module name node object open option options parse parser path plugin print "
    "process read register remove render request reset response result results run runner save "
    "send server service settings setup start state status stop store test token tools type types "
    "update util utils validate value version visitor wrapper write writer".split()
)
_ASIDE = re.compile(
    r"(^|/)(docs?|scripts?|benchmarks?|vendor|third_party|node_modules|\.\w+|setup\.py|conf\.py)(/|$)"
)
_DEFINITION = re.compile(
    r"^(?:(?:export|default|public|abstract|final|async|open|data|sealed|static|"
    r"pub(?:\([\w ]+\))?)\s+)*"
    r"(?:(?P<type>class|struct|interface|trait|enum)|(?:def|func|fn|function|fun))\s+"
    r"(?P<name>[A-Za-z]\w*)"
)
_UNTELLING = re.compile(
    r"(test|mock|fake|dummy|stub|get_|set_|is_|has_|to_|_)|(get|set|is|has)[A-Z]|"
    r".*(Test|Tests|TestCase|Error|Exception|Mixin)$"
)
_DOCSTRING = re.compile(r'^\s*[rRuU]?("""|\'\'\')\s*\w')
_COMMENT = re.compile(r"^\s*(///?|/\*\*|\*/|\*\s|#(?!!)\s?\w)")
_DECORATION = re.compile(r"^\s*(@|#\[|\[)")

_HEADING_MARKS = re.compile(r"^[#=\s]+|[#=\s:]+$|^\d+[.)]\s+")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_OPENINGS = {
    "installation": "How do I install {repo}?",
    "getting started": "How do I get started with {repo}?",
    "quick start": "How do I get started with {repo}?",
    "quickstart": "How do I get started with {repo}?",
    "configuration": "How is {repo} configured?",
    "architecture": "How is {repo} built?",
    "usage": "How do I use {repo}?",
}
_VERBS = frozenset(
    "add authenticate compile configure connect contribute convert create customize debug define "
    "deploy disable download enable evaluate extend fine-tune freeze generate handle implement "
    "inspect install integrate load manage migrate override parse publish read register resume "
    "save serve specify subclass train tune update upgrade upload use validate visualize "
    "write".split()
)
_NOUNS_TOO = frozenset(  # "build environment" is one, "build the documentation" is not
    "benchmark build cache change export format import launch log measure monitor profile query "
    "release run schedule search set start stream test trace".split()
)
_COMMON_VERBS = frozenset("contribute install upgrade".split())  # true of any repository
_DETERMINERS = frozenset("a an the your multiple several custom".split())
_SMALL_WORDS = frozenset("a an and as at by for from in into of on or the to via with your".split())


def _gerund(verb: str) -> str:
    return (verb + verb[-1] if verb in ("log", "run", "set") else verb.removesuffix("e")) + "ing"


_GERUNDS = {_gerund(verb): verb for verb in _VERBS | _NOUNS_TOO}


@dataclass(frozen=True)
class _Heading:
    """A question from a heading; a higher rank is better."""

    question: str
    rank: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """A definition at the top of a file; a higher rank is better."""

    name: str
    is_type: bool
    rank: tuple[bool, ...]
    documentation: int  # lines


def draw_examples(index: CodeIndex, count: int = EXAMPLES) -> list[str]:
    """Draw questions that the index can answer, of several kinds, best first.

    :param count: how many, at most; a small index may give fewer.
    """
    records = sorted(index.manifest.repositories, key=lambda record: -record.chunks)
    records = [record for record in records if record.chunks <= MAX_CHUNKS][:MAX_REPOSITORIES]
    drawn = [_draw_from(index, record.name) for record in records]
    # One kind after the other, the repositories in turn, each at another kind.
    turned = [kinds[at % 4 :] + kinds[: at % 4] for at, kinds in enumerate(drawn)]
    rounds = zip_longest(*(chain.from_iterable(zip_longest(*kinds)) for kinds in turned))
    questions = dict.fromkeys(q for q in chain.from_iterable(rounds) if q)
    return list(questions)[:count]


def _draw_from(index: CodeIndex, repo: str) -> list[list[str]]:
    """List one repository's questions by kind: overview, how-to, types, functions."""
    chunks = index.chunks(repo)
    overview = [f"What is {repo} for?"] if any(_is_readme(chunk.path) for chunk in chunks) else []
    headings = sorted(_ask_headings(chunks, repo), key=lambda found: found.rank, reverse=True)
    names = list(_find_names(chunks))
    rarity = index.rarity([query_tokens(name.name)[0] for name in names])
    weight = [
        (TYPE_WEIGHT if name.is_type else 1.0)
        * (min(name.documentation, ENOUGH_DOCUMENTATION) / ENOUGH_DOCUMENTATION)
        + (1 - rare)
        for name, rare in zip(names, rarity, strict=True)
    ]
    order = sorted(range(len(names)), key=lambda at: (names[at].rank, weight[at]), reverse=True)
    types = [f"What does {names[at].name} do?" for at in order if names[at].is_type]
    functions = [f"How does {names[at].name} work?" for at in order if not names[at].is_type]
    return [overview, [heading.question for heading in headings], types, functions]


def _is_readme(path: str) -> bool:
    return path.lower().startswith("readme")


def _ask_headings(chunks: Iterable[Chunk], repo: str) -> Iterator[_Heading]:
    for order, chunk in enumerate(chunks):
        if BY_NAME[chunk.language].kind is not Kind.PROSE or path_prior(chunk.path) < 1:
            continue
        lines = {_HEADING_MARKS.sub("", line) for line in split_lines(chunk.text)}
        for outline in chunk.symbol.split(", "):
            title = _HEADING_MARKS.sub("", outline.rpartition(SEPARATOR)[2])
            asked = ask_heading(title, repo) if title in lines else None  # not if cut at a comma
            if asked:
                question, telling = asked
                depth = chunk.path.count("/")
                yield _Heading(question, (telling, _is_readme(chunk.path), -depth, -order))


def ask_heading(title: str, repo: str) -> tuple[str, int] | None:
    """Turn a heading into the question that its section answers.

    :return: the question and how telling it is, higher being better; None for most headings.
    """
    title = _LINK.sub(r"\1", _HEADING_MARKS.sub("", title)).replace("`", "").strip()
    title = re.sub(r"^\W+", "", title)
    words = title.removesuffix("?").split()
    if not words or len(title) > MAX_HEADING_CHARS or re.search(r"[<>{}|\\/()&,;:…]|\.", title):
        return None
    if opening := _OPENINGS.get(title.lower()):
        return opening.format(repo=repo), 0
    if title.lower().startswith("how to ") and len(words) >= 4:
        return f"How do I {_lower_case(words[2:])}?", 2
    if title.endswith("?"):
        return (f"{' '.join(words)}?", 1) if len(words) >= 4 else None
    verb = _GERUNDS.get(words[0].lower(), words[0].lower())
    is_verb = verb in _VERBS or (
        verb in _NOUNS_TOO
        and (verb != words[0].lower() or words[1:2] and words[1].lower() in _DETERMINERS)
    )
    rest = [word.lower() for word in words[1:]]
    if not is_verb or not 2 <= len(rest) <= 6 or "and" in rest or rest[-1] in _SMALL_WORDS:
        return None
    return f"How do I {_lower_case([verb, *words[1:]])}?", 1 if verb in _COMMON_VERBS else 2


def _lower_case(words: Sequence[str]) -> str:
    """Undo title case; where only some words have it, they are names."""
    rest = words[1:]
    if all(word[0].isupper() or word in _SMALL_WORDS for word in rest):
        rest = [word.lower() if word[1:].islower() else word for word in rest]
    first = words[0].lower() if words[0][1:].islower() else words[0]
    return " ".join([first, *rest])


def _find_names(chunks: Iterable[Chunk]) -> Iterator[_Name]:
    for chunk in chunks:
        if BY_NAME[chunk.language].kind is not Kind.CODE or path_prior(chunk.path) < 1:
            continue
        lines = split_lines(chunk.text)
        for at, line in enumerate(lines):
            match = _DEFINITION.match(line)
            if match and _is_telling(match["name"], is_type=bool(match["type"])):
                name = match["name"]
                documentation = _count_documentation(lines, at)
                several_words = len(_words_of(name)) > 1
                rank = (documentation > 0, not _ASIDE.search(chunk.path), several_words)
                yield _Name(name, bool(match["type"]), rank, documentation)


def _words_of(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _is_telling(name: str, *, is_type: bool) -> bool:
    words = _words_of(name)
    return (
        len(name) >= MIN_NAME_CHARS
        and not _UNTELLING.match(name)
        and any(word not in _GENERAL for word in words)
        and (name[0].isupper() if is_type else len(words) > 1)
    )


def _count_documentation(lines: Sequence[str], at: int) -> int:
    """Count the lines that document the definition in line `at`, above it or as a docstring."""
    start = at
    while start and _DECORATION.match(lines[start - 1]):
        start -= 1
    above = start
    while above and _COMMENT.match(lines[above - 1]):
        above -= 1
    if above < start:
        return start - above
    span = lines[at : at + SIGNATURE_LINES]
    begin = at + next((n for n, line in enumerate(span, 1) if line.rstrip().endswith(":")), 0)
    if begin == at or begin == len(lines) or not (quote := _DOCSTRING.match(lines[begin])):
        return 0
    text = [lines[begin][quote.end(1) :], *lines[begin + 1 :]]
    return next((n for n, line in enumerate(text, 1) if quote[1] in line), len(text))
