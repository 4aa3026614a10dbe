"""`codeqa doctor`: each fault is found, and what is said to mend it does."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import main
from app.doctor import Finding, check_folder, check_packages, examine
from app.history import History
from tests.permissions import not_as_root
from tests.stub_openai import StubOpenAI


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("CODEQA_CACHE", raising=False)
    return tmp_path


@pytest.fixture
def index(index_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(index_folder, tmp_path / "index"))


@pytest.fixture(scope="module")
def stub() -> Iterator[StubOpenAI]:
    with StubOpenAI(models=("base", "tuned")) as stub:
        yield stub


def find(what: str, index: Path, *servers: str, history: Path | None = None) -> Finding:
    findings = examine(str(index), servers, str(history) if history else None)
    (found,) = [finding for finding in findings if finding.what == what]
    return found


def test_where_all_is_well_it_says_so_and_exits_with_0(
    home: Path, index: Path, stub: StubOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{stub.url}/v1"
    assert main(["doctor", "--index", str(index), "--llm", url]) == 0
    said = capsys.readouterr().out
    for words in ("3.", "bfloat16|float32", "every file as it was written", "base, tuned"):
        assert any(word in said for word in words.split("|"))
    assert "FAULT" not in said


def test_faults_are_all_listed_and_exit_with_1(
    home: Path, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--index", str(index), "--llm", "http://127.0.0.1:9/v1", "--json"]
    assert main(["doctor", *options]) == 1
    out, err = capsys.readouterr()
    findings = json.loads(out)["findings"]
    assert [each["what"] for each in findings if each["state"] == "fault"] == [options[3]]
    assert "start the server" in findings[-1]["mend"]
    assert err.startswith("codeqa: at fault: http://127.0.0.1:9/v1;")


def test_a_damaged_index_is_told_with_the_command_that_makes_it_anew(
    home: Path, index: Path
) -> None:
    chunks = index / (index / "CURRENT").read_text().strip() / "chunks.sqlite"
    data = bytearray(chunks.read_bytes())
    data[len(data) // 2] ^= 1
    chunks.write_bytes(data)
    finding = find("index", index)
    assert finding.state == "fault"
    assert finding.mend == f"codeqa index REPO --index {index}"


def test_no_index_is_no_fault(home: Path, tmp_path: Path) -> None:
    finding = find("index", tmp_path / "none")
    assert (finding.state, finding.found) == ("note", f"none in {tmp_path / 'none'}")


def test_conversations_are_counted_and_a_file_that_is_none_is_a_fault(
    home: Path, index: Path, tmp_path: Path
) -> None:
    file = tmp_path / "conversations.sqlite"
    History(file, scope="here").close()
    assert find("conversations", index, history=file).found == f"0 in {file}"
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE exchanges")
        database.execute("DROP TABLE conversations")
    database.close()
    assert find("conversations", index, history=file).state == "fault"
    file.write_text("no database")
    finding = find("conversations", index, history=file)
    assert finding.state == "fault"
    assert file.read_text() == "no database"


def test_a_folder_that_cannot_be_written_to_is_a_fault() -> None:
    with not_as_root() as folder:
        folder.chmod(0o500)
        finding = check_folder("cache", folder / "a" / "b", "CODEQA_CACHE")
        folder.chmod(0o700)
    assert finding.state == "fault"
    assert "CODEQA_CACHE" in finding.mend


def test_a_missing_package_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.doctor.PACKAGES", ["torch", "no-such-package"])
    assert check_packages() == Finding(
        "fault", "packages", "missing: no-such-package", "make install"
    )


def test_git_that_is_missing_is_a_fault(
    home: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    finding = find("git", index)
    assert (finding.state, finding.found) == ("fault", "not found")
