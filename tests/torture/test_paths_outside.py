"""No route serves a file that is not of the index: paths in many spellings, at all that take one.

What must never be seen lies outside the repository, in its `.git`, behind a symbolic link in it, in
the index and in `/etc/passwd`. The paths are sent as they stand, byte for byte, by somebody who is
logged in.
"""

import random
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from retrieval.index import CodeIndex
from tests.app.guarded import TOKEN, served_to_others
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, make_repository
from tests.torture.conftest import Cases, Tally

CANARY = f"canary-{uuid.uuid4().hex}"
FORBIDDEN = (CANARY.encode(), b"root:x:0:0", b"[core]", b"SQLite format 3", b"ref: refs/")
STEPS = (  # one folder up, as somebody may write it
    *("../", "..\\", "..//", "../\\", "./../", "..;/", "..../", "....//", "..././", "...//"),
    *("..%2f", "..%5c", "%2e%2e/", "%2e%2e%2f", "%2e%2e%5c", "%2e./", ".%2e/", "%2E%2E%2F"),
    *("..%252f", "%252e%252e%252f", "%252e%252e/", "..%255c", "..%c0%af", "%c0%ae%c0%ae/"),
    *("..%c1%9c", "%e0%80%ae%e0%80%ae/", "..%ef%bc%8f", "．．/", "‥/", "..%u2216", "..%00/"),
    *(
        "..%09/",
        "..%20/",
        "..%0a/",
        "%0d%0a../",
        "..%01/",
        "..?/",
        "..#/",
        "/../",
        "//../",
        "/%2e%2e/",
    ),
)
PREFIXES = ("", "js/", "x/", "%2f", "/")
FILE_ROUTE = "/page/file?repo=limits&commit=<commit>&start=1&end=9&path={}"  # {} is the path
ROUTES = (
    *("/{}", "/assets/{}", "/static/{}", "/svelte/{}", "/theme.css/{}", "/config/{}", "/v1/{}"),
    *("/gradio_api/file={}", "/gradio_api/file/{}", "/gradio_api/run/{}", "/gradio_api/proxy={}"),
    "/gradio_api/custom_component/x/client/component/{}",
    *("/gradio_api/stream/{}/1/1/playlist-file", "/monitoring/{}", "/pwa_icon/{}"),
    *("/page/follow/{}", "/page/export/{}", "/page/{}"),
    FILE_ROUTE,
    "/page/file?repo={}&commit=<commit>&start=1&end=9&path=README.md",
    "/page/link?repo=limits&commit=<commit>&start=1&end=9&path={}",
    *("/api/search?query=canary&path={}", "/api/search?query=canary&repo={}", "/?deep_link={}"),
)


@dataclass(frozen=True)
class Served:
    """A served index, and what lies around it."""

    url: str
    commit: str
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "canary.txt").write_text(CANARY)
    repository = make_repository(folder / "limits", {"README.md": "# Limits\n"})
    (repository / "link.txt").symlink_to(folder / "canary.txt")
    commit_files(repository, {"code.py": "limit = 1\n"})
    (repository / "untracked.txt").write_text(CANARY)
    with CodeIndex.build([str(repository)], folder / "index", embedder=FakeEncoder()) as index:
        commit = index.repository("limits").commit
    with served_to_others(
        folder / "index", folder / "conversations.sqlite", limits=("none",)
    ) as chat:
        yield Served(chat.url, commit, folder)


def spellings(folder: Path) -> list[str]:
    """Paths to what must not be seen, none twice."""
    canary = str(folder / "canary.txt")
    climbing = [
        prefix + step * 12 + target.lstrip("/")
        for step in STEPS
        for prefix, target in (("", canary), (PREFIXES[len(step) % 5], "/etc/passwd"))
    ]
    near = ["link.txt", "./link.txt", "untracked.txt", ".git/config", ".git/HEAD", "../canary.txt"]
    near += [
        "README.md/../.git/config",
        "README.md/../../canary.txt",
        "*",
        "**",
        "",
        ".",
        "..",
        "~",
    ]
    near += ["../index/CURRENT", "../conversations.sqlite", "conversations.sqlite", "$HOME", "C:\\"]
    forms = ["{}", "/{}", "//{}", "file://{}", "file:{}", "{}%00.css", "{}%00", "{}/.", "{}//"]
    forms += ["/proc/self/root{}", "/proc/self/cwd/../../../../../..{}", "http://localhost{}"]
    forms += ["\\\\localhost\\c${}", "/dev/fd/../../{}", "{}?x.js", "{}#.css", "{};.js", "{}%20"]
    straight = [form.format(target) for form in forms for target in (canary, "/etc/passwd")]
    straight += [quote(canary, ""), quote(quote(canary, ""), ""), "/proc/self/environ", "/etc/"]
    return list(dict.fromkeys(climbing + near + straight))


def send(url: str, target: str) -> bytes:
    """Ask for a path as it is written; the whole reply."""
    place = urlsplit(url)
    assert place.hostname and place.port
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        head = f"GET {target} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {TOKEN}\r\n\r\n"
        connection.sendall(head.encode())
        return connection.makefile("rb").read()


def test_no_path_leads_outside_the_index(served: Served, cases: Cases, tally: Tally) -> None:
    paths = spellings(served.folder)
    assert len(paths) >= 60
    pairs = [(route, path) for route in ROUTES for path in paths]
    tried = random.Random(0).sample(pairs, cases(400, len(pairs)))
    shown, faults = [], []
    for route, path in tried:
        reply = send(served.url, route.replace("<commit>", served.commit).format(path))
        status = int(reply.split(b" ", 2)[1])
        if status >= 500:
            faults.append((route, path, status))
        if any(secret in reply for secret in FORBIDDEN):
            shown.append((route, path))
    tally(
        "paths that lead outside the index",
        paths=len(paths),
        routes=len(ROUTES),
        requests=len(tried),
        served=len(shown),
        faults=len(faults),
    )
    assert shown == []
    assert faults == []
    inside = FILE_ROUTE.replace("<commit>", served.commit).format("README.md")
    assert b"Limits" in send(served.url, inside)  # what it should, it does serve
