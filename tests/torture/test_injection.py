"""What poisoned files say is quoted, and never obeyed: by prompts, pages, terminals or exports.

The model of these tests is the worst there is: what it is shown, it says again, word for word.
"""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from app.answer import Answer, Doubt
from app.cli import main
from app.conversation import Draft, Exchange
from app.conversation_markdown import conversation_markdown
from app.evidence import evidence_html
from app.highlight import highlight_lines
from app.judge import judge_messages
from app.mcp_tools import CodeTools
from app.render_exchange import exchange_html
from data_tools.chunk import Chunk
from data_tools.hidden_text import HIDDEN, show_hidden
from data_tools.text import split_lines
from retrieval.citations import check_citations
from retrieval.index import CodeIndex
from retrieval.prompt import (
    SYSTEM,
    Message,
    Turn,
    answer_messages,
    parse_passages,
    rewrite_messages,
    split_messages,
    suggest_messages,
)
from retrieval.search import Hit
from tests.git_repositories import make_repository
from tests.retrieval.test_fence import STEERING
from tests.stub_embeddings import StubEmbeddings
from tests.stub_openai import StubOpenAI
from tests.tiny_model import CHAT_TEMPLATE
from tests.torture.conftest import Cases, Tally
from tests.torture.poisoned import GROUP, WORDS, poisoned_files

TAGS = set(
    "a article b blockquote br button code details div em form h1 h2 h3 h4 h5 h6 hr input label li "
    "nav ol p path pre s section span strong summary svg table tbody td th thead tr ul wbr".split()
)
ATTRIBUTES = set(
    "aria-hidden aria-label aria-pressed autocomplete class d data-ask data-commit data-do "
    "data-end data-exchange data-line data-part data-path data-place data-repo data-start "
    "data-thumb data-url fill for height href id maxlength name open placeholder rel role start "
    "stroke stroke-linecap stroke-linejoin stroke-width style target title type value viewbox "
    "width".split()
)
STYLES = {"text-align:left", "text-align:right", "text-align:center"}  # of tables


class Judge(HTMLParser):
    """Collects what could run or load something, or is not ours."""

    def __init__(self, links: str) -> None:
        super().__init__()
        self._links = re.compile(links)
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attributes:
            is_ours = name in ATTRIBUTES and (name != "style" or value in STYLES)
            if not is_ours or (name == "href" and not self._links.match(value or "")):
                self.faults.append(f"<{tag} {name}={value!r}>")

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}>")


def faults_of(html: str, links: str = "https?://|#") -> list[str]:
    """Judge a page.

    :param links: what the address of a link begins with.
    """
    judge = Judge(links)
    judge.feed(html)
    judge.close()
    return judge.faults


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeIndex]:
    folder = tmp_path_factory.mktemp("poisoned") / "<img src=x onerror=window.__pwned=1>"
    make_repository(folder, poisoned_files())
    with (
        StubEmbeddings() as stub,
        CodeIndex.build([str(folder)], folder.parent / "index", embedder=stub.url) as index,
    ):
        yield index


@pytest.fixture(scope="module")
def chunks(index: CodeIndex) -> list[Chunk]:
    chunks = list(index.chunks())
    assert len({chunk.path for chunk in chunks}) >= 50
    return chunks


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, and every control token that models are known to have."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({byte: at for at, byte in enumerate(alphabet)}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, eos_token="<|im_end|>", chat_template=CHAT_TEMPLATE
    )
    made.add_special_tokens({"additional_special_tokens": STEERING})
    return made


def messages_about(chunk: Chunk) -> list[list[Message]]:
    """All that is asked of a model about a chunk, and when it has said it again."""
    turn = Turn(chunk.text, chunk.text)
    return [
        answer_messages(chunk.text, [chunk, chunk], [turn], [turn]),
        suggest_messages(chunk.text, [chunk], chunk.text, [turn]),
        rewrite_messages(chunk.text, [turn]),
        split_messages(chunk.text),
        judge_messages(chunk.text, chunk.text, chunk.text),
    ]


FIXED = [each[0] for each in messages_about(Chunk("r", "c", "p", 1, 1, "text", "", "x\n"))]


def parrot(messages: list[dict[str, Any]]) -> str:
    """A model that says again what it is shown."""
    return "\n".join(chunk.text for chunk in parse_passages(messages[-1]["content"]))


def highlight(chunk: Chunk) -> tuple[str, ...]:
    """As the page does."""
    return highlight_lines(chunk.text, chunk.language)


def exchange_about(chunk: Chunk, said: str) -> Exchange:
    """A question about a chunk, answered with `said`, everything in doubt."""
    hit = Hit(1.0, chunk, None)
    checked = check_citations(f"{said}\n\n[1:L1-L1]", [chunk], {})
    answer = Answer(
        question=said,
        text=checked.text,
        citations=checked.citations,
        dropped=checked.dropped,
        evidence=(hit,),
        mode="model",
        model=said,
        abstained=False,
        words_only=False,
        doubts=tuple(Doubt(citation, (said,)) for citation in checked.citations),
        related=(said,),
    )
    draft = Draft(said, answer.text, answer, problem=said)
    return Exchange(said, searched=f"{said} again", evidence=(hit,), drafts=(draft,))


def test_a_poisoned_file_never_leaves_its_fence(
    chunks: list[Chunk], tokenizer: PreTrainedTokenizerFast, cases: Cases, tally: Tally
) -> None:
    special = set(tokenizer.all_special_ids)
    prompts = escaped = 0
    for chunk in chunks[: cases(40, len(chunks))]:
        first = answer_messages("Why?", [chunk, chunk])
        passages = parse_passages(first[-1]["content"])
        assert [each.end_line for each in passages] == [chunk.end_line] * 2
        for messages, fixed in zip(messages_about(chunk), FIXED, strict=True):
            prompts += 1
            harmless = [Message(role=each["role"], content="x") for each in messages]
            counts = []
            for written in (messages, harmless):
                text = tokenizer.apply_chat_template(written, tokenize=False)  # type: ignore[arg-type]
                ids = tokenizer(str(text), add_special_tokens=False)["input_ids"]
                counts.append(sum(each in special for each in ids))
            contents = [each["content"] for each in messages]
            hidden = [run for text in contents for run in HIDDEN.findall(text) if len(run) > 1]
            escaped += counts[0] != counts[1] or bool(hidden)
            assert [each["role"] for each in messages].count("system") == 1
            assert messages[0] == fixed
    tally("poisoned files in prompts", prompts=prompts, escaped=escaped)
    assert not escaped


def test_a_poisoned_file_is_shown_on_the_page_as_text(
    chunks: list[Chunk], cases: Cases, tally: Tally
) -> None:
    faults: list[str] = []
    tried = chunks[: cases(40, len(chunks))]
    for chunk in tried:
        for said in (chunk.text, chunk.path, f"{chunk.text}{chunk.path}", f"`{chunk.text}"):
            exchange = exchange_about(chunk, said)
            faults += faults_of(exchange_html(exchange, 1))
            evidence = evidence_html([exchange, exchange], highlight, name_repository=True)
            faults += faults_of(evidence)
    tally("poisoned files on the page", files=len(tried), faults=len(faults))
    assert not faults


def test_a_poisoned_answer_is_exported_as_text(
    chunks: list[Chunk], cases: Cases, tally: Tally
) -> None:
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    reader.validateLink = lambda url: True  # type: ignore[method-assign]
    faults: list[str] = []
    tried = chunks[: cases(40, len(chunks))]
    for chunk in tried:
        for said in (chunk.text, chunk.path, f"{chunk.text}{chunk.path}"):
            markdown = conversation_markdown(said, [exchange_about(chunk, said)])
            faults += faults_of(reader.render(markdown), "https?://|(?!//|[a-z]+:)")
            assert show_hidden(markdown) == markdown
    tally("poisoned answers in exports", files=len(tried), faults=len(faults))
    assert not faults


def test_a_poisoned_file_does_not_steer_the_terminal(
    index: CodeIndex,
    chunks: list[Chunk],
    capsys: pytest.CaptureFixture[str],
    cases: Cases,
    tally: Tally,
) -> None:
    shown: set[str] = set()
    with StubOpenAI(parrot, delta_chars=400) as stub:
        for at, word in enumerate(WORDS):
            asked = [f"what is the {word}", "--index", str(index.folder), "-k", str(2 * GROUP)]
            commands = [["search", *asked, "--json"], ["search", *asked]]
            if at % cases(5, 1) == cases(2, 0):  # a part of it: hidden letters, and escapes
                answered = ["ask", *asked, "--llm", stub.url]
                commands += [answered, [*answered, "--json"]]
            for words in commands:
                assert main(words) == 0
                out, err = capsys.readouterr()
                assert show_hidden(out + err) == out + err
                if words == commands[0]:
                    shown |= {json.loads(line)["path"] for line in out.splitlines()}
        asked_bodies = [each.body for each in stub.chats]
    assert shown == {chunk.path for chunk in chunks}
    assert main(["status", "--index", str(index.folder), "--offline", "--skipped"]) == 0
    out, err = capsys.readouterr()
    assert "unsafe" in out and show_hidden(out + err) == out + err
    for body in asked_bodies:
        assert not body.keys() & {"tools", "tool_choice", "functions"}
        system = [each["content"] for each in body["messages"] if each["role"] == "system"]
        assert system == [SYSTEM]
    tally("poisoned files on the terminal", files=len(shown), asked=len(asked_bodies), obeyed=0)


def test_a_poisoned_file_is_shown_whole_to_a_coding_agent(index: CodeIndex) -> None:
    tools = CodeTools(index)
    for word in WORDS:
        found = tools.search_code(f"what is the {word}", k=GROUP)
        assert found.passages
        reply = found.model_dump_json()
        text = json.loads(reply)
        assert all(show_hidden(each["text"]) == each["text"] for each in text["passages"])
        for passage in found.passages:
            assert len(split_lines(passage.text)) == passage.end_line - passage.start_line + 1
