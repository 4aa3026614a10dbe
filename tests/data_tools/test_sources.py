"""What the user types, as a location, a ref and a name."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.errors import SourceError
from data_tools.sources import (
    Repository,
    SkippedFile,
    is_remote,
    make_source_file,
    open_source,
    plain_location,
    repository_name,
    safe_relative_path,
    split_spec,
    unique_name,
)
from tests.git_repositories import MakeRepo

REPOSITORY = Repository("limits", "/code/limits", None, "c" * 40)


@pytest.mark.parametrize(
    ("spec", "location", "ref"),
    [
        ("https://github.com/acme/limits", "https://github.com/acme/limits", None),
        ("https://github.com/acme/limits/", "https://github.com/acme/limits", None),
        ("https://github.com/acme/limits.git", "https://github.com/acme/limits.git", None),
        ("HTTPS://github.com/acme/limits", "https://github.com/acme/limits", None),
        ("https://github.com/acme/limits@v1.2", "https://github.com/acme/limits", "v1.2"),
        ("https://github.com/acme/limits@", "https://github.com/acme/limits", None),
        ("https://github.com/acme/limits@fix/a-b", "https://github.com/acme/limits", "fix/a-b"),
        ("https://github.com/acme/limits@core@1.0", "https://github.com/acme/limits", "core@1.0"),
        ("https://git.example/@acme/limits", "https://git.example/@acme/limits", None),
        ("https://git.example/@acme/limits@dev", "https://git.example/@acme/limits", "dev"),
        ("https://git.example:8443/a/b@dev", "https://git.example:8443/a/b", "dev"),
        ("https://ada:pw@git.example/a/b@dev", "https://ada:pw@git.example/a/b", "dev"),
        ("https://[2001:db8::1]:8443/a/b", "https://[2001:db8::1]:8443/a/b", None),
        ("https://github.com/acme/limits?tab=readme#top", "https://github.com/acme/limits", None),
        ("https://github.com/acme/limits/tree/dev", "https://github.com/acme/limits", "dev"),
        ("https://github.com/acme/limits/tree/fix/a", "https://github.com/acme/limits", "fix/a"),
        ("https://github.com/acme/limits/tree/dev/?x=1", "https://github.com/acme/limits", "dev"),
        (
            "https://github.com/acme/limits/commit/abc1234",
            "https://github.com/acme/limits",
            "abc1234",
        ),
        ("https://github.com/acme/limits/releases/tag/v1", "https://github.com/acme/limits", "v1"),
        ("https://gitlab.com/a/b/c/-/tree/dev", "https://gitlab.com/a/b/c", "dev"),
        ("https://codeberg.org/a/b/src/branch/dev", "https://codeberg.org/a/b", "dev"),
        ("https://codeberg.org/a/b/src/commit/abc1234", "https://codeberg.org/a/b", "abc1234"),
        ("github.com/acme/limits", "https://github.com/acme/limits", None),
        ("gitlab.com/acme/limits@dev", "https://gitlab.com/acme/limits", "dev"),
        ("git@github.com:acme/limits.git", "git@github.com:acme/limits.git", None),
        ("git@github.com:acme/limits.git@dev", "git@github.com:acme/limits.git", "dev"),
        ("git@host:/srv/git/limits.git", "git@host:/srv/git/limits.git", None),
        ("ssh://git@host:2222/a/b.git@dev", "ssh://git@host:2222/a/b.git", "dev"),
        ("file:///srv/git/limits.git@dev", "file:///srv/git/limits.git", "dev"),
        (" https://github.com/acme/limits\n", "https://github.com/acme/limits", None),
        ("./nowhere@dev", "./nowhere", "dev"),
        ("~nobody-of-that-name/code", "~nobody-of-that-name/code", None),
        ("C:\\code\\limits", "C:\\code\\limits", None),
        ("x" * 5_000, "x" * 5_000, None),
        (".", ".", None),
    ],
)
def test_a_spec_is_split_into_location_and_ref(spec: str, location: str, ref: str | None) -> None:
    assert split_spec(spec) == (location, ref)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "  ",
        "--upload-pack=touch /tmp/pwned",
        "-c core.sshCommand=x",
        "ext::sh -c 'touch /tmp/pwned'",
        "ext::sh://host/x",
        "fd::17",
        "ftp://host/a/b",
        "git://host/a/b",
        "javascript://host/a",
        "https://",
        "https:///a/b",
        "https://[2001:db8::1/a/b",
        "https://host:port/a/b",
        "ssh://-oProxyCommand=touch/a/b",
        "ssh://git@-oProxyCommand=touch/a/b",
        "https://host/a\nb",
        "https://host/a\x00b",
        "https://host/\x1b[31m",
        "caf\udce9",
    ],
)
def test_what_is_no_repository_is_refused_in_one_line(spec: str) -> None:
    with pytest.raises(SourceError) as caught:
        split_spec(spec)
    assert str(caught.value).isprintable()


def test_a_folder_whose_name_holds_the_ref_sign_is_found(tmp_path: Path) -> None:
    (tmp_path / "code@home").mkdir()
    assert split_spec(f"{tmp_path}/code@home") == (f"{tmp_path}/code@home", None)
    assert split_spec(f"{tmp_path}/code@home@v1@2") == (f"{tmp_path}/code@home", "v1@2")
    assert split_spec(f"file://{tmp_path}/code@home") == (f"file://{tmp_path}/code@home", None)


def test_a_folder_named_as_a_host_is_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "github.com" / "acme").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert split_spec("github.com/acme") == ("github.com/acme", None)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("https://github.com/acme/limits.git", "limits"),
        ("https://github.com/acme/limits/", "limits"),
        ("https://ada:secret@host", "host"),
        ("git@github.com:limits.git", "limits"),
        ("ssh://git@host:2222/a/b c", "b-c"),
        ("file:///srv/git/limits.git/", "limits"),
        ("/code/héron", "héron"),
        ("/code/..hidden", "hidden"),
        ("/code/a b\t!", "a-b"),
        ("/", "repository"),
        ("https://host/..", "repository"),
        ("https://host/" + "x" * 300, "x" * 80),
    ],
)
def test_a_name_is_the_last_part_and_safe_as_a_folder(location: str, name: str) -> None:
    assert repository_name(location) == name


def test_a_taken_name_is_preceded_by_the_owner_and_then_numbered() -> None:
    location = "https://ada:secret@github.com/acme/limits"
    assert unique_name(location, set()) == "limits"
    assert unique_name(location, {"limits"}) == "acme-limits"
    assert unique_name(location, {"limits", "acme-limits"}) == "limits-2"
    assert unique_name(location, {"limits", "acme-limits", "limits-2"}) == "limits-3"
    assert unique_name("https://ada:secret@host", {"host"}) == "host-2"


@pytest.mark.parametrize(
    ("location", "plain"),
    [
        ("https://ada:pw@git.example/a/b", "https://git.example/a/b"),
        ("https://token@git.example:8443/a/b", "https://git.example:8443/a/b"),
        ("ssh://git:pw@host/a/b", "ssh://git@host/a/b"),
        ("git@host:a/b", "git@host:a/b"),
        ("file:///srv/a@b", "file:///srv/a@b"),
        ("/srv/../srv/a", "/srv/a"),
    ],
)
def test_a_plain_location_holds_no_password(location: str, plain: str) -> None:
    assert plain_location(location) == plain


def test_only_urls_and_scp_addresses_are_cloned() -> None:
    assert is_remote("https://host/a")
    assert is_remote("git@host:a/b")
    assert not is_remote("/home/ada@work:x")
    assert not is_remote("C:\\code")


@pytest.mark.parametrize("path", ["nowhere", "file.py", "nowhere@dev"])
def test_what_is_no_folder_is_refused_with_what_to_give(tmp_path: Path, path: str) -> None:
    (tmp_path / "file.py").write_text("x = 1\n")
    with pytest.raises(SourceError, match="give a folder, a repository or a git URL"):
        open_source(str(tmp_path / path))


def test_a_plain_folder_has_no_refs(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(SourceError, match="not a git repository, so it has no 'dev'"):
        open_source(f"{tmp_path}@dev")


def test_without_git_a_folder_is_read_and_a_repository_says_what_is_missing(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo = make_repo({"a.py": "x = 1\n"})
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.py").write_text("x = 1\n")
    code = (
        "import sys\n"
        "from data_tools.sources import open_source\n"
        "print([file.path for file in open_source(sys.argv[1]).files()])\n"
        "try:\n"
        "    open_source(sys.argv[2])\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "plain"), str(repo)],
        env=os.environ | {"PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == [
        "['a.py']",
        "SourceError git is not installed; install it, or give a plain folder",
    ]


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("a/b.py", True),
        ("a b/ü.py", True),
        ("..a/b..py", True),
        ("/etc/passwd", False),
        ("../a.py", False),
        ("a/../../b.py", False),
        ("a/./b.py", False),
        ("a//b.py", False),
        ("a/b/", False),
        ("a\nb.py", False),
        ("", False),
    ],
)
def test_a_path_that_could_leave_the_folder_is_unsafe(path: str, safe: bool) -> None:
    assert safe_relative_path(path) is safe


def test_a_file_s_hash_is_of_its_bytes_and_its_text_has_plain_line_ends() -> None:
    file = make_source_file(REPOSITORY, "src/a.py", b"x = 1\r\ny = 2\r\n")
    assert not isinstance(file, SkippedFile)
    assert (file.repo, file.commit, file.path) == ("limits", "c" * 40, "src/a.py")
    assert (file.language, file.text) == ("python", "x = 1\ny = 2\n")
    assert file.sha256 == hashlib.sha256(b"x = 1\r\ny = 2\r\n").hexdigest()


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a.py", b"\x00\x01", "binary"),
        ("a.py", b" \n\t\n", "empty"),
        ("a.ipynb", b"{", "not a readable notebook"),
        ("a.ipynb", b'{"cells": []}', "empty"),
        ("a.md", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
    ],
)
def test_a_file_without_text_is_skipped_with_the_reason(
    path: str, data: bytes, reason: str
) -> None:
    assert make_source_file(REPOSITORY, path, data) == SkippedFile("limits", path, reason)


def test_a_file_of_no_known_language_is_a_wrong_argument() -> None:
    with pytest.raises(ValueError, match="no known language"):
        make_source_file(REPOSITORY, "a.bin", b"x")
