"""Documentation sites in an index: found, cited to page and heading, brought up to date."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.answer import Answer, answer
from app.llm import open_chat_model
from app.status import print_status
from data_tools.progress import Progress
from retrieval import CodeIndex
from retrieval.index import index_repositories
from tests.data_tools.site_server import Reply, SiteServer, page, serve_site
from tests.fakes import FakeEncoder
from tests.stub_openai import StubOpenAI

pytestmark = pytest.mark.usefixtures("private_allowed")

WORDS = "Nothing of what is asked for stands in this sentence, which is only here to be long. " * 9


@pytest.fixture
def site() -> Iterator[SiteServer]:
    """A site of two pages, one of them with a section too long to share a chunk."""
    with serve_site() as server:
        server.replies |= {
            "/": page(f'<h1>Limits</h1><p>{WORDS}</p><a href="install">Install</a>'),
            "/install": page(
                f"<h1>Install</h1><p>{WORDS}</p>"
                '<h2 id="from-source">From source</h2>'
                "<p>The compiler named zigzag builds the wheel.</p>"
                f"<p>{WORDS}</p>"
            ),
        }
        yield server


def test_an_answer_cites_the_page_and_its_heading(
    site: SiteServer, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    with CodeIndex.build([site.url()], tmp_path / "index", embedder=fake_encoder) as index:
        hit = index.search("Which compiler builds the wheel, zigzag?")[0]
        assert hit.chunk.path == "install.md"
        assert hit.url == index.link(hit.chunk) == site.url("/install")  # where the passage begins
        lines = index.file_text("127.0.0.1", "install.md").splitlines()
        line = next(number for number, text in enumerate(lines, start=1) if "zigzag" in text)
        with StubOpenAI(reply=f"It is zigzag [1:L{line}-L{line}].") as stub:
            chat = open_chat_model(stub.url)
            last = list(answer(index, "From source", chat=chat))[-1]
    assert isinstance(last, Answer)
    assert [each.url for each in last.citations] == [site.url("/install#from-source")]


def test_an_update_embeds_only_what_changed_and_drops_what_is_gone(
    site: SiteServer, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    folder = tmp_path / "index"
    with CodeIndex.build([site.url()], folder, embedder=fake_encoder) as index:
        assert not index.update().changed
        site.replies["/more"] = page(f"<h1>More</h1><p>{WORDS}</p>")
        site.replies["/"] = page('<h1>Limits</h1><p>Short.</p><a href="more">More</a>')
        fake_encoder.embedded = 0
        report = index.update()
        assert report.changed
        assert report.embedded == fake_encoder.embedded == 2
        assert {chunk.path for chunk in index.chunks()} == {"index.md", "more.md"}


def test_a_site_stays_one_however_it_is_written_and_is_not_asked_again_what_it_is(
    site: SiteServer, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    folder = tmp_path / "index"
    for spec in (site.url(), f"docs+{site.url()}", site.url("")):
        site.asked()
        report = index_repositories([spec], folder, embedder=fake_encoder)
        assert [record.location for record in report.manifest.repositories] == [
            f"docs+{site.url()}"
        ]
    assert not [path for path in site.asked() if "info/refs" in path]


def test_links_are_kept_while_other_repositories_are_indexed_and_go_with_the_site(
    site: SiteServer, tmp_path: Path, tiny_repo: Path, fake_encoder: FakeEncoder
) -> None:
    folder = tmp_path / "index"
    index_repositories([site.url()], folder, embedder=fake_encoder)
    index_repositories([str(tiny_repo)], folder, embedder=fake_encoder)
    with CodeIndex.open(folder, embedder=fake_encoder) as index:
        urls = {index.link(chunk) for chunk in index.chunks("127.0.0.1")}
        assert {site.url(), site.url("/install"), site.url("/install#from-source")} <= urls
        assert {index.link(chunk) for chunk in index.chunks("limits")} == {None}
        index.remove("127.0.0.1")
        assert {chunk.repo for chunk in index.chunks()} == {"limits"}


def test_a_site_that_is_down_leaves_the_index_as_it_was(
    site: SiteServer, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    folder = tmp_path / "index"
    with CodeIndex.build([site.url()], folder, embedder=fake_encoder) as index:
        before = index.manifest
        site.replies["/"] = Reply(status=503)
        with pytest.raises(Exception, match="cannot read .*status 503"):
            index.update()
        assert CodeIndex.open(folder).manifest == before


def test_status_says_when_a_site_was_read_and_what_was_left_out(
    site: SiteServer, tmp_path: Path, fake_encoder: FakeEncoder, capsys
) -> None:
    folder = tmp_path / "index"
    site.replies["/"] = page(f'<p>{WORDS}</p><a href="/install">I</a><a href="/x.pdf">P</a>')
    notes: list[Progress] = []
    index_repositories([site.url()], folder, embedder=fake_encoder, report=notes.append)
    assert "crawling: page 2 of 2" in [note.message for note in notes]
    print_status(str(folder), offline=False, list_skipped=True, as_json=False)
    text = capsys.readouterr().out
    assert "read today; `codeqa index` reads it again and embeds what has changed" in text
    assert f"skipped {site.url('/x.pdf')}: not HTML (.pdf)" in text
    print_status(str(folder), offline=False, list_skipped=False, as_json=True)
    (record,) = json.loads(capsys.readouterr().out)["repositories"]
    assert record["behind"] is None
    assert record["read_at"].startswith("20")
