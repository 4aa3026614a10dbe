"""Addresses and refs that are made to run something, or to reach what they should not.

Each is tried as a person types it and as a visitor of the page sends it. It must be refused in one
line, and leave no trace: no canary file, no program called, no connection, nothing in the cache.
"""

import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.cli import main
from app.workspace import Workspace
from data_tools.clone import cache_folder
from data_tools.errors import CodeQAError, SourceError
from data_tools.snapshot import check_ref
from data_tools.sources import open_source
from tests.data_tools.name_server import name_server
from tests.fakes import FakeEncoder
from tests.torture.conftest import Tally

SECRET = "s3cr3t-t0ken-0123456789"
# {canary}: a file that must not come to be; {port}: where somebody listens who must not be asked.
COMMANDS = (
    "ext::sh -c 'touch {canary}'",
    "ext::sh -c touch%20{canary}",
    "EXT::sh -c 'touch {canary}'",
    "git+ext::sh -c 'touch {canary}'",
    "ext::sh://host/x",
    "evil::touch {canary}",
    "evil::https://host.test/x",
    "fd::17",
    "fd::17,18/x",
    "--upload-pack=touch {canary}",
    "--upload-pack=touch {canary};@host.test:x",
    "-u touch {canary}",
    "-utouch",
    "-c core.sshCommand='touch {canary}'",
    "--config=core.sshCommand=touch {canary}",
    "--exec-path=/tmp",
    "-oProxyCommand=touch {canary}",
    "-oProxyCommand=touch@host.test:x",
    " --upload-pack=touch {canary}",
    "ssh://-oProxyCommand=touch%20{canary}/x",
    "ssh://-oProxyCommand=touch/x",
    "ssh://git@-oProxyCommand=touch/x",
    "ssh://-oProxyCommand=touch@host.test/x",
    "ssh://host.test:-oProxyCommand=touch/x",
    "git@-oProxyCommand=touch:x",
    "git@host.test:-oProxyCommand=touch",
    "git@host.test:--upload-pack=touch {canary}",
    "git@$(touch {canary}):x",
    "ssh://git@$(touch${{IFS}}{canary})/x",
    "ssh://$(touch${{IFS}}{canary})@host.test/x",
    "ssh://git@`touch {canary}`/x",
    "ssh://git@host.test;touch {canary}/x",
    "ssh://git@host.test|touch/x",
    "ssh://git@host.test%0atouch/x",
    "https://host.test/$(touch {canary})",
    "https://host.test/`touch {canary}`",
    "https://host.test/x;touch {canary}",
    "https://host.test/a --upload-pack=touch {canary}",
    "https://host.test/a%0a--upload-pack=touch",
    "https://host.test/a\n--upload-pack=touch {canary}",
    "https://host.test/a\r\nX-Header: 1",
    "https://host.test/a\x00b",
    "https://host.test/\x1b[31m",
    "https://host.test/\u202egpj.exe",
    "https://host.test/a\u200bb",
    "$(touch {canary})",
    "`touch {canary}`",
    "|touch {canary}",
    "; touch {canary}",
    "${{HOME}}/../../x",
    "~$(touch {canary})/x",
    "file://$(touch {canary})",
    "file:///no/such/folder;touch {canary}",
)
TRANSPORTS = (
    *("git://127.0.0.1:{port}/x", "git+git://127.0.0.1:{port}/x", "ftp://127.0.0.1:{port}/x"),
    *("ftps://host.test/x", "rsync://127.0.0.1:{port}/x", "ldap://127.0.0.1:{port}/x"),
    *("gopher://127.0.0.1:{port}/_x", "dict://127.0.0.1:{port}/x", "smb://127.0.0.1/x"),
    *("http+unix://%2Fvar%2Frun%2Fdocker.sock/x", "unix:///var/run/docker.sock"),
    *("data:text/plain,x", "javascript:alert(1)", "javascript://host.test/%0aalert(1)"),
    *("jar:https://host.test/x!/", "view-source:https://host.test", "about:blank"),
    *("\\\\host.test\\share\\x", "//127.0.0.1:{port}/x", "https:/127.0.0.1:{port}/x"),
    *("https:127.0.0.1:{port}", "ssh:127.0.0.1", "http:///127.0.0.1:{port}/x"),
    *("docs+file:///etc/passwd", "docs+ftp://127.0.0.1:{port}/", "docs+ssh://host.test/x"),
)
SERVERS = (
    *("http://127.0.0.1:{port}/x", "https://127.0.0.1:{port}/x", "https://localhost:{port}/x"),
    *("https://localhost.:{port}/x", "https://LOCALHOST:{port}/x", "https://127.1:{port}/x"),
    *("https://2130706433:{port}/x", "https://0x7f000001:{port}/x", "https://0x7f.1:{port}/x"),
    *("https://0177.0.0.1:{port}/x", "https://017700000001:{port}/x", "https://0:{port}/x"),
    *("https://0.0.0.0:{port}/x", "https://[::1]:{port}/x", "https://[::]:{port}/x"),
    *("https://[::ffff:127.0.0.1]:{port}/x", "https://[::ffff:7f00:1]:{port}/x"),
    *("https://[64:ff9b::7f00:1]:{port}/x", "https://[::127.0.0.1]:{port}/x"),
    *(
        "https://１２７.0.0.1:{port}/x",
        "https://127。0。0。1:{port}/x",
        "https://ⓛocalhost:{port}/x",
    ),
    *(
        "https://10.0.0.1/x",
        "https://192.168.1.1/x",
        "https://172.31.0.1/x",
        "https://100.64.0.1/x",
    ),
    *("https://169.254.169.254/latest/meta-data", "http://169.254.169.254/", "https://[fe80::1]/x"),
    *("https://[fe80::1%25lo]/x", "https://[fd00:ec2::254]/x", "https://168.63.129.16/x"),
    *("https://100.100.100.200/x", "https://224.0.0.1/x", "https://255.255.255.255/x"),
    *("git+https://127.0.0.1:{port}/x.git", "docs+https://127.0.0.1:{port}/", "docs+http://[::1]/"),
    *("git@127.0.0.1:x", "git@localhost:x", "ssh://git@127.0.0.1:{port}/x", "ssh://git@[::1]/x"),
    *("ssh://git@2130706433/x", "git@0x7f.1:x", "ssh://localhost:{port}/x"),
    *("https://loop.test:{port}/x", "docs+https://loop.test:{port}/x", "git@loop.test:x"),
    *("ssh://git@loop.test/x", "https://loop.test.:{port}/x.git", "https://ada@loop.test:{port}/x"),
)
TWO_READINGS = (
    *("https://github.com\\@127.0.0.1:{port}/x", "https://github.com#@127.0.0.1:{port}/x"),
    *("https://github.com?@127.0.0.1:{port}/x", "https://127.0.0.1:{port}#@github.com/x"),
    *("https://127.0.0.1:{port}\\@github.com/x", "https://github.com@127.0.0.1:{port}/x"),
    *("https://github.com:443@127.0.0.1:{port}/x", "https://github.com%2f@127.0.0.1:{port}/x"),
    *("https://github.com／@127.0.0.1:{port}/x", "https://127.0.0.1:{port}:443/x"),
    *("https://127.0.0.1:99999/x", "https://127.0.0.1:-1/x", "https://[127.0.0.1]:{port}/x"),
    *("https://[::1/x", "https://]/x", "https://", "https:///x", "https://@/x", "https://:443/x"),
    *("https://127.0.0.1%00.github.com/x", "https://127.0.0.1 .github.com/x", "https://../x"),
)
ADDRESSES = COMMANDS + TRANSPORTS + SERVERS + TWO_READINGS
REFS = (
    *(
        "--upload-pack=touch {canary}",
        "-x",
        "--",
        "-",
        "..",
        "a..b",
        "@{{-1}}",
        "main@{{1}}",
        "a@{{u}}",
    ),
    *(
        ":(glob)*",
        ":/fix",
        ":0:a.py",
        "HEAD:a.py",
        "main:refs/heads/x",
        "+main:x",
        "^main",
        "HEAD^",
    ),
    *("HEAD~1", "HEAD^{{/x}}", "refs/*", "a?b", "a[b", "a\\b", "a b", "a\tb", "a\nb", "a\x00b"),
    *(
        "\u202eniam",
        "a\u200bb",
        "\ud800",
        "$(touch {canary}) x",
        "`touch {canary}`",
        "a;touch {canary}",
    ),
)


@dataclass
class Surroundings:
    """What a hostile address could leave a trace in.

    :param programs: called so far, a line each.
    :ivar visitors: connections to the listener.
    """

    canary: Path
    programs: Path
    port: int = 0
    visitors: list[object] = field(default_factory=list)

    def fill(self, text: str) -> str:
        """Name the canary and the port in an address."""
        return text.format(canary=self.canary, port=self.port)

    def traces(self) -> list[str]:
        """What is there that should not be; ssh may be asked for its settings (`-G`)."""
        called = self.programs.read_text().splitlines() if self.programs.exists() else []
        acted = [line for line in called if not line.startswith("ssh -G ")]
        fetched = [str(path) for path in cache_folder().rglob("*.git")]
        touched = [str(self.canary)] * self.canary.exists()
        return acted + fetched + touched + [str(who) for who in self.visitors]


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    """Programs that note that they were called, somebody who listens, and names of this machine."""
    around = Surroundings(tmp_path / "canary", tmp_path / "called")
    (tmp_path / "programs").mkdir()
    for name in ("ssh", "touch", "git-remote-evil", "git-remote-ext", "git-remote-fd", "plink"):
        program = tmp_path / "programs" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {around.programs}\nexit 1\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=":")
    monkeypatch.chdir(tmp_path)
    name_server(monkeypatch, "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        around.port = listener.getsockname()[1]

        def welcome() -> None:
            while True:
                try:
                    connection, who = listener.accept()
                except OSError:  # the test is over
                    return
                around.visitors.append(who)
                connection.close()

        thread = threading.Thread(target=welcome)
        thread.start()
        yield around
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def refusal(spec: str) -> str:
    """Why what a person typed is not opened."""
    with pytest.raises(CodeQAError) as caught:
        list(open_source(spec).files())
    return str(caught.value)


def test_a_hostile_address_is_refused_in_one_line_and_leaves_no_trace(
    around: Surroundings, tmp_path: Path, fake_encoder: FakeEncoder, tally: Tally
) -> None:
    workspace = Workspace(tmp_path / "index", embedder=fake_encoder)
    for pattern in ADDRESSES:
        spec = around.fill(pattern)
        assert refusal(spec).isprintable(), spec
        with pytest.raises(SourceError) as caught:  # at once: no job is begun
            workspace.add(spec, remote_only=True)
        assert str(caught.value).isprintable(), spec
        assert around.traces() == [], spec
    assert workspace.jobs == () and not (tmp_path / "index").exists()
    assert len(set(ADDRESSES)) >= 60
    tally("hostile addresses", inputs=len(set(ADDRESSES)), traces=len(around.traces()))


def test_traces_are_seen_where_git_is_left_to_itself(around: Surroundings) -> None:
    settings = ("-c", "protocol.allow=always")
    for spec in ("ext::touch {canary}", "evil::x", "ssh://x.test/x", "http://127.0.0.1:{port}/x"):
        before = len(around.traces())
        words = ["git", *settings, "ls-remote", around.fill(spec)]
        subprocess.run(words, capture_output=True, check=False)
        assert len(around.traces()) > before, spec


def test_no_repository_of_this_machine_is_opened_for_a_visitor_of_the_page(
    around: Surroundings, tiny_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQA_ALLOW_PRIVATE", "1")  # of the network, not of the disk
    workspace = Workspace(tmp_path / "index")
    places = (str(tiny_repo), ".", "..", "~", "/", f"file://{tiny_repo}", "limits", "limits@main")
    for place in (*places, f"git+file://{tiny_repo}", f"FILE://{tiny_repo}", f"file:{tiny_repo}"):
        with pytest.raises(SourceError):
            workspace.add(place, remote_only=True)
    assert workspace.jobs == ()


def test_a_hostile_ref_never_reaches_git(
    around: Surroundings, tiny_repo: Path, tally: Tally
) -> None:
    for pattern in REFS:
        ref = around.fill(pattern)
        for spec in (f"{tiny_repo}@{ref}", f"file://{tiny_repo}@{ref}"):
            assert refusal(spec).isprintable(), spec
        assert around.traces() == [], ref
    with pytest.raises(SourceError):
        check_ref("a\x00b")
    tally("hostile refs", inputs=len(REFS), traces=len(around.traces()))


@pytest.mark.parametrize("command", ["index", "flatten"])
def test_the_command_line_says_it_in_one_line(
    command: str, around: Surroundings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = {"index": "--index", "flatten": "--out"}[command]
    for pattern in (
        "ext::sh -c 'touch {canary}'",
        "git@-oProxyCommand=touch:x",
        "https://loop.test/x",
    ):
        words = [command, around.fill(pattern), out, str(tmp_path / "out")]
        assert main(words) == 1
        *progress, said = capsys.readouterr().err.splitlines()
        assert said.startswith("codeqa: ")
        assert not any("codeqa: " in line or "Traceback" in line for line in progress)
    for option in ("--upload-pack=touch", "-u", "-oProxyCommand=touch"):
        with pytest.raises(SystemExit) as caught:
            main([command, option, out, str(tmp_path / "out")])
        assert caught.value.code == 2
    assert around.traces() == []


@pytest.mark.parametrize(
    "spec",
    [
        "https://ada:{secret}@loop.test/x",
        "https://{secret}@loop.test/x",
        "https://ada:{secret}@host:port/x",
        "https://ada:{secret}@ho st/x",
        "https://ada:{secret}@ho\x00st/x",
        "https://ada:{secret}\n@loop.test/x",
        "https://ada:a/{secret}@loop.test/x",
        "https://ada:a#{secret}@loop.test/x",
        "https://ada:a@{secret}@loop.test/x",
        "ftp://ada:{secret}@loop.test/x",
        "docs+https://ada:{secret}@loop.test/x",
        "ssh://git:{secret}@loop.test/x",
        "https:/ada:{secret}@loop.test/x",
        "ext::https://ada:{secret}@loop.test/x",
    ],
)
def test_a_refusal_holds_no_password(spec: str, around: Surroundings, tmp_path: Path) -> None:
    typed = spec.format(secret=SECRET)
    assert SECRET not in refusal(typed)
    with pytest.raises(SourceError) as caught:
        Workspace(tmp_path / "index").add(typed, remote_only=True)
    assert SECRET not in str(caught.value)
