"""Claims that their citations do not bear out: names that the cited lines do not hold.

A claim is a sentence, list item or table row with a citation. What it writes as code must stand in
the lines that it cites, or in what the reader is told of them: the passage's path and symbol. A
name that stands in none was invented, or belongs elsewhere.

It is made to be right when it speaks up, and lets much pass: names of the question, keywords,
built-ins, files that are among the evidence, examples in code blocks, and whatever a sentence
says is absent. Pure functions of text; whether the claim is true is not judged.
"""

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator, Sequence

from app.events import Doubt
from data_tools.chunk import Chunk
from data_tools.text import split_lines
from retrieval.citations import Citation

_FENCED = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,}).*?(?:^[ \t]*(?P=fence)|\Z)", re.M | re.S)
_CITATION = re.compile(r"\[(\d{1,3}):L(\d{1,7})-L(\d{1,7})\]")  # as `check_citations` writes them
_BLOCK_START = re.compile(r"\s*(?:[*+-]\s|\d{1,3}[.)]\s|>|\||#{1,6}\s)|\s*$")
_SENTENCE_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)[.!?:]['\")*_]*"
    r"(?P<after>(?:\s*\[\d+:L\d+-L\d+\])*)\s+(?=[A-Z`*_\"'(])"
)
_SPAN = re.compile(r"(?<!`)(?P<ticks>`+)(?!`)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)", re.S)
_ABSENT = re.compile(
    r"\b(?:no(?:thing|ne|t|where)?|never|without|n't|lacks?|missing)\b[^.;]{0,40}\b(?:mention|show|"
    r"defin|contain|includ|hold|say|said|appear|exist|occur|found|find|name|given|passage|evidence)"
    r"|\bthere (?:is|are) no\b|\b(?:is|are) (?:absent|undefined)\b",
    re.I,
)

_NAME = r"[A-Za-z_$][\w$]*"
_FLAG = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
_EXTENSIONS = (
    "py|pyi|ipynb|md|rst|txt|toml|ya?ml|jsonl?|cfg|ini|env|lock|sh|bat|js|jsx|ts|tsx|mjs|css|html?|c|"
    "cc|cpp|cu|h|hpp|rs|go|java|kt|rb|php|cs|scala|swift|sql|proto|xml|csv|gradle|lua|jinja2?"
)
_FILE = re.compile(rf"(?<![\w/.-])(?:[\w.@~-]*/)*(?P<stem>[\w.-]+)\.(?:{_EXTENSIONS})(?![\w(])")
_FOLDER = re.compile(r"(?:[\w.@~-]*/)+[\w.@-]*")
_DOTTED = re.compile(rf"(?<![\w.$]){_NAME}(?:(?:\.|::|->|#){_NAME})*(?:\(\))?")
_LITERAL = re.compile(r"(['\"]).*?\1|\b\d[\w.]*")
_CALLED = re.compile(rf"(?<![\w.$]){_NAME}(?:\.{_NAME})*(?=\()")
_WORD = re.compile(r"[\w$]+(?:-[\w$]+)*")
_HUMPS = re.compile(r"(?:[A-Z]+[a-z0-9]+){2,}[A-Z]*|[a-z][a-z0-9]*[A-Z]\w*|[A-Z]{2,}[a-z]{2,}\w*")

# Names of products and formats: written as types are, and in prose no code.
_PRODUCTS = frozenset(
    "GitHub GitLab PyTorch TensorFlow JavaScript TypeScript OpenAI NumPy SciPy PyPI IPython LaTeX "
    "MLflow DeepSpeed HuggingFace DataFrame YouTube WebSocket MosaicML PostgreSQL MySQL SQLite "
    "NoSQL GraphQL MongoDB LangChain FastAPI macOS iOS README".split()
)
# What needs no evidence: the languages themselves.
_LANGUAGE = frozenset(
    [
        *dir(builtins),
        *keyword.kwlist,
        *keyword.softkwlist,
        *"self cls args kwargs this super null undefined nil true false void const let var "
        "function fn func struct enum interface trait impl pub static final public private "
        "protected new typeof string boolean number char float64 int64 int32 usize __init__ "
        "__main__ NaN and or e.g i.e etc".split(),
    ]
)


def find_doubts(
    text: str, citations: Sequence[Citation], evidence: Sequence[Chunk], question: str
) -> tuple[Doubt, ...]:
    """Find the claims of an answer that name what their cited lines do not hold.

    :param text: the answer, its citations checked and written `[n:Lx-Ly]`.
    :param citations: those of the text, as `check_citations` returns them.
    :param evidence: passage n is `evidence[n - 1]`.
    :param question: whose names may be repeated anywhere.
    :return: at most one for each claim, at its first citation, in order.
    """
    by_place = {(each.passage, each.start_line, each.end_line): each for each in citations}
    asked = _words(question)
    paths = {chunk.path for chunk in evidence}
    doubts = []
    for claim in split_claims(text):
        cited = [by_place.get(_place(match)) for match in _CITATION.finditer(claim)]
        good = [citation for citation in cited if citation is not None]
        if not good or _ABSENT.search(_CITATION.sub("", claim)):
            continue
        held = set().union(*(_held_words(each, evidence[each.passage - 1]) for each in good))
        names = [
            name
            for name in find_names(_CITATION.sub("", claim))
            if not _is_held(name, held | asked, paths)
        ]
        if names:
            doubts.append(Doubt(good[0], tuple(names)))
    return tuple(doubts)


def split_claims(text: str) -> Iterator[str]:
    """Yield the sentences, list items and table rows that have a citation; code blocks are left."""
    for block in _split_blocks(_FENCED.sub("\n\n", text)):
        hidden = _SPAN.sub(lambda span: "`" + "x" * (len(span[0]) - 2) + "`", block)
        start = 0
        for end in [*(match.end() for match in _SENTENCE_END.finditer(hidden)), len(block)]:
            if _CITATION.search(block, start, end):
                yield block[start:end].strip()
            start = end


def find_names(claim: str) -> list[str]:
    """List what a claim writes as code, in order, each once.

    In backticks, that is every name, flag and path, but of an expression only what is shaped like
    a name of code; outside, CamelCase, snake_case, flags, calls and paths.
    """
    found: list[str] = []
    position = 0
    for span in _SPAN.finditer(claim):
        found += _names_in_prose(claim[position : span.start()])
        found += _names_in_code(span["code"].strip())
        position = span.end()
    found += _names_in_prose(claim[position:])
    return list(dict.fromkeys(found))


def _split_blocks(text: str) -> Iterator[str]:
    """Yield paragraphs, list items and rows, each as one line."""
    block: list[str] = []
    for line in [*text.split("\n"), ""]:
        if block and (_BLOCK_START.match(line) or block[0].startswith("#")):
            yield " ".join(block)
            block = []
        if line.strip():
            block.append(line.strip())


def _names_in_code(code: str) -> list[str]:
    kinds = (_FILE, _FOLDER, _FLAG, _DOTTED)
    if any(kind.fullmatch(code) for kind in kinds):
        return [code.removesuffix("()")]
    bare = _LITERAL.sub(" ", code)
    flags = [match[0] for match in _FLAG.finditer(bare)]
    bare = _FLAG.sub(" ", bare)
    called = [match[0] for match in _CALLED.finditer(bare)]
    names = [match[0].removesuffix("()") for match in _DOTTED.finditer(bare)]
    return flags + called + [name for name in names if _is_shaped(name)]


def _names_in_prose(prose: str) -> list[str]:
    prose = re.sub(r"\]\([^)\s]*\)|\b\w+://\S+", " ", prose)  # where links lead
    found = [match[0] for match in _FLAG.finditer(prose) if match[0].startswith("--")]
    found += [match[0] for match in _FILE.finditer(prose)]
    rest = _FLAG.sub(" ", _FILE.sub(" ", prose))
    for match in _DOTTED.finditer(rest):
        name = match[0].removesuffix("()")
        if _is_shaped(name) and name not in _PRODUCTS and name.rstrip("s") not in _PRODUCTS:
            found.append(name)
    return found


def _is_shaped(name: str) -> bool:
    """Whether something looks like a name of code wherever it stands."""
    parts = re.split(r"[.:#>-]+", name)
    return any(_HUMPS.fullmatch(part) or "_" in part.strip("_") for part in parts)


def _place(citation: re.Match[str]) -> tuple[int, int, int]:
    return int(citation[1]), int(citation[2]), int(citation[3])


def _held_words(citation: Citation, chunk: Chunk) -> set[str]:
    """The words of the cited lines, of the passage's path and symbol, and of its repository."""
    first = citation.start_line - chunk.start_line
    lines = split_lines(chunk.text)[first : citation.end_line - chunk.start_line + 1]
    return _words("".join(lines), chunk.path, chunk.symbol, chunk.repo)


def _words(*texts: str) -> set[str]:
    """All words, also as parts of what hyphens join, hyphens and underscores being alike."""
    words: set[str] = set()
    for match in _WORD.finditer("\n".join(texts)):
        words.add(match[0].replace("-", "_"))
        words.update(match[0].split("-"))
    return words


def _is_held(name: str, words: set[str], paths: Iterable[str]) -> bool:
    """Whether a name needs no evidence, or each part of it that says something has some."""
    if name.startswith("-"):
        return len(name) <= 2 or name.lstrip("-").replace("-", "_") in words
    file = _FILE.fullmatch(name)
    if file or "/" in name:
        place = "/" + name.strip("./~")
        if any(f"/{path}".endswith(place) or f"{place}/" in f"/{path}" for path in paths):
            return True
    if file:
        folders = [folder for folder in name[: file.start("stem")].split("/") if folder.strip(".~")]
        return all(part.replace("-", "_") in words for part in (*folders, file["stem"]))
    parts = [part for part in re.split(r"[./:#>-]+", name) if part]
    telling = [part for part in parts[:-1] if _is_shaped(part)] + parts[-1:]
    return all(_is_word_held(part, words) for part in telling)


def _is_word_held(word: str, words: set[str]) -> bool:
    return (
        len(word) <= 1
        or word in _LANGUAGE
        or word in words
        or (word.endswith("s") and _is_shaped(word) and word[:-1] in words)  # several of them
    )
