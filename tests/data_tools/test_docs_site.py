"""A documentation site as a repository, and a URL told to be one."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator

import pytest

from data_tools.clone import cache_folder, count_commits_behind
from data_tools.docs_memory import when_read
from data_tools.docs_site import last_read
from data_tools.errors import SourceError
from data_tools.sources import (
    SkippedFile,
    Snapshot,
    SourceFile,
    is_site,
    open_source,
    plain_location,
    repository_name,
    resolve_spec,
    split_spec,
    unique_name,
)
from tests.data_tools.git_server import serve_git
from tests.data_tools.site_server import Reply, SiteServer, page, serve_site
from tests.git_repositories import MakeRepo

pytestmark = pytest.mark.usefixtures("private_allowed")


@pytest.fixture
def site() -> Iterator[SiteServer]:
    """A site of three pages below /docs/."""
    with serve_site() as server:
        server.replies |= {
            "/docs/": page('<h1 id="docs">Docs</h1><a href="use/">Use</a> <a href="x.pdf">P</a>'),
            "/docs/use/": page(
                '<h1>Use</h1><p>First.</p><h2 id="take a&b">Take</h2><p>Then.</p>'
                '<a href="../use.html">again</a>'
            ),
            "/docs/use.html": page("<h1>Use it again</h1>"),
        }
        yield server


def files(snapshot: Snapshot) -> dict[str, SourceFile]:
    """The pages of a site by path."""
    return {each.path: each for each in snapshot.files() if isinstance(each, SourceFile)}


def test_a_site_is_a_repository_of_markdown_files(site: SiteServer) -> None:
    snapshot = open_source(site.url("/docs/"))
    repository = snapshot.repository
    assert repository.name == "127.0.0.1"
    assert repository.location == f"docs+{site.url('/docs/')}"
    assert repository.web_url == site.url("/docs/")
    assert len(repository.commit) == 40
    read = files(snapshot)
    assert list(read) == ["index.md", "use-2.md", "use.md"]
    use = read["use-2.md"]
    assert (use.repo, use.commit, use.language) == ("127.0.0.1", repository.commit, "markdown")
    assert use.text == "# Use\n\nFirst.\n\n## Take\n\nThen.\n\nagain\n"
    skipped = [each for each in snapshot.files() if isinstance(each, SkippedFile)]
    assert skipped == [SkippedFile("127.0.0.1", site.url("/docs/x.pdf"), "not HTML (.pdf)")]


def test_lines_are_linked_to_their_page_and_heading(site: SiteServer) -> None:
    use = files(open_source(site.url("/docs/")))["use-2.md"]
    page_url = site.url("/docs/use/")
    assert use.links == ((1, page_url), (5, f"{page_url}#take%20a%26b"))


def test_what_is_read_again_and_says_the_same_is_the_same_commit(site: SiteServer) -> None:
    first = open_source(site.url("/docs/"))
    assert open_source(site.url("/docs/")) == first
    site.replies["/docs/use.html"] = page("<h1>Use it otherwise</h1>")
    changed = open_source(site.url("/docs/"))
    assert changed.repository.commit != first.repository.commit
    assert "otherwise" in files(changed)["use.md"].text


def test_when_a_site_was_read_is_known_and_its_distance_is_not_counted(site: SiteServer) -> None:
    repository = open_source(site.url("/docs/")).repository
    read_at = last_read(repository)
    assert read_at
    assert repository.committed_at == int(read_at)
    assert count_commits_behind(repository) is None
    for file in (cache_folder() / "sites").iterdir():
        file.unlink()
    assert last_read(repository) == repository.committed_at


def test_a_limit_on_pages_is_told_and_can_be_raised(site: SiteServer) -> None:
    few = open_source(f"{site.url('/docs/')}#pages=1")
    assert list(files(few)) == ["index.md"]
    assert few.repository.location == f"docs+{site.url('/docs/')}#pages=1"
    assert few.notice == (
        "127.0.0.1: stopped at the limit of 1 pages, with 1 more found; "
        f"`docs+{site.url('/docs/')}#pages=2` sets another limit"
    )
    assert open_source(f"docs+{site.url('/docs/')}#part").notice is None


def test_a_site_of_one_page_says_how_to_get_more(site: SiteServer) -> None:
    single = open_source(site.url("/docs/use/"))
    assert "give the address of a folder above it" in str(single.notice)


@pytest.mark.parametrize("damage", [b"not a database", b""])
def test_a_damaged_memory_costs_another_crawl_and_nothing_else(
    site: SiteServer, damage: bytes
) -> None:
    first = open_source(site.url("/docs/"))
    (memory,) = (cache_folder() / "sites").glob("*.sqlite")
    memory.write_bytes(damage)
    assert files(open_source(site.url("/docs/"))) == files(first)


def test_what_another_version_made_of_pages_is_made_anew(site: SiteServer) -> None:
    open_source(site.url("/docs/"))
    (memory,) = (cache_folder() / "sites").glob("*.sqlite")
    with sqlite3.connect(memory) as connection:
        connection.execute("UPDATE pages SET page = ?", (json.dumps({"other": "form"}),))
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert len(files(open_source(site.url("/docs/")))) == 3
    assert when_read(memory)


def test_pages_that_no_link_leads_to_any_more_are_forgotten(site: SiteServer) -> None:
    open_source(site.url("/docs/"))
    site.replies["/docs/"] = page("<h1>Docs</h1>")
    open_source(site.url("/docs/"))
    (memory,) = (cache_folder() / "sites").glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(memory)) as connection:
        asked = connection.execute("SELECT asked FROM pages").fetchall()
    assert asked == [(site.url("/docs/"),)]


@pytest.mark.parametrize(
    ("spec", "location"),
    [
        ("docs+https://Docs.Example/guide/", "docs+https://docs.example/guide/"),
        ("docs+https://docs.example/guide#install", "docs+https://docs.example/guide"),
        ("docs+https://docs.example/#pages=50", "docs+https://docs.example/#pages=50"),
        ("docs+https://docs.example/@a/tree/b?x=1", "docs+https://docs.example/@a/tree/b"),
        ("git+https://docs.example/guide", "https://docs.example/guide"),
    ],
)
def test_a_prefix_insists(spec: str, location: str) -> None:
    assert split_spec(spec) == (location, None)
    assert resolve_spec(spec) == spec
    assert split_spec(location)[0] == location


@pytest.mark.parametrize("spec", ["docs+https://", "docs+https://ada:pw@docs.example/"])
def test_an_address_that_is_none_or_needs_a_login_is_refused(spec: str) -> None:
    with pytest.raises(SourceError, match="not a documentation site") as caught:
        split_spec(spec)
    assert "pw" not in str(caught.value)


def test_a_site_is_named_by_its_host_then_by_its_folder_too() -> None:
    location = "docs+https://docs.example:8080/en/stable/"
    assert repository_name(location) == "docs.example"
    assert unique_name(location, {"docs.example"}) == "stable-docs.example"
    assert unique_name(location, {"docs.example", "stable-docs.example"}) == "docs.example-2"
    assert plain_location(f"{location}#pages=9") == location


@pytest.mark.parametrize(
    "spec",
    [
        "https://github.com/acme/limits",
        "github.com/acme/limits",
        "https://no-such-host.invalid/limits.git",
        "https://no-such-host.invalid/limits@v1",
        "https://no-such-host.invalid/limits",
        "git@no-such-host.invalid:acme/limits",
        "ssh://git@no-such-host.invalid/limits",
        "./limits",
    ],
)
def test_what_is_git_or_cannot_be_asked_is_left_to_git(spec: str) -> None:
    assert not is_site(resolve_spec(spec))
    assert split_spec(resolve_spec(spec)) == split_spec(spec)


def test_a_server_of_git_is_told_from_one_of_pages(make_repo: MakeRepo, site: SiteServer) -> None:
    repo = make_repo({"a.py": "x = 1\n"}, "limits")
    with serve_git(repo.parent) as git:
        url = git.url("limits")
        assert resolve_spec(url) == f"git+{url}"
        assert open_source(url).repository.location == url
        for behaviour in ("static", 401):
            git.behaviour = behaviour
            bare = url + "/.git" if behaviour == "static" else url
            assert resolve_spec(bare) == f"git+{bare}"
    assert resolve_spec(site.url("/docs/")) == f"docs+{site.url('/docs/')}"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=404), "status 404"),
        (Reply(b"{}", type="application/json"), r"not HTML \(application/json\)"),
        (Reply(status=302, headers={"Location": "https://other.example/"}), "another host"),
    ],
)
def test_a_url_that_is_neither_is_an_error_that_names_both(
    site: SiteServer, reply: Reply, reason: str
) -> None:
    site.replies["/thing"] = reply
    url = site.url("/thing")
    with pytest.raises(SourceError, match=reason) as caught:
        open_source(url)
    message = str(caught.value)
    assert "neither a git repository nor a documentation site" in message
    assert f"insist: git+{url} or docs+{url}" in message


def test_a_site_that_answers_every_path_with_a_page_is_no_git_server(site: SiteServer) -> None:
    site.replies["/docs/info/refs?service=git-upload-pack"] = site.replies["/docs/"]
    assert is_site(resolve_spec(site.url("/docs/")))


def test_progress_is_reported_page_by_page(site: SiteServer) -> None:
    lines: list[str] = []
    open_source(site.url("/docs/"), report=lines.append)
    assert lines == ["crawling: page 2 of 2", "crawling: page 3 of 3"]
