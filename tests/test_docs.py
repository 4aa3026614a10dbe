"""The documents are true: commands exist, the Python section runs, the file tree is the tree."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from app.cli import make_parser
from app.history import History
from app.models import open_models
from app.web import launch
from app.workspace import Workspace
from retrieval.index import CodeIndex
from tests.fakes import FakeEncoder

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PACKAGES = ("app", "training", "retrieval", "data_tools")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_section_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section, _ = blocks("python")
    for name in ("retrieval", "app"):
        (tmp_path / name).mkdir()
        for file in ("rank.py", "citations.py"):
            source = ROOT / name / file
            if source.exists():
                (tmp_path / name / file).write_text(source.read_text("utf-8"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(section, "README.md", "exec"), names)
    assert "retrieval/rank.py" in capsys.readouterr().out
    documents = names["documents"]
    assert isinstance(documents, list)
    assert documents[0].metadata["path"] == "retrieval/citations.py"


def test_the_section_for_other_programs_runs(tmp_path: Path) -> None:
    _, section = blocks("python")
    sources = tmp_path / "sources" / "retrieval"
    sources.mkdir(parents=True)
    (sources / "citations.py").write_text((ROOT / "retrieval/citations.py").read_text("utf-8"))
    index = tmp_path / "index"
    CodeIndex.build([str(tmp_path / "sources")], index, embedder=FakeEncoder()).close()
    workspace = Workspace(index, embedder=FakeEncoder())
    history = History(tmp_path / "conversations.sqlite", scope=str(index))
    chat = launch(workspace, open_models([]), history, port=0, block=False)
    try:
        names: dict[str, Any] = {}
        exec(section.replace("http://127.0.0.1:7860", chat.url), names)
        message = names["answer"].choices[0].message
        assert message.citations[0]["path"] == "retrieval/citations.py"
        names["client"].close()
    finally:
        chat.close()


@pytest.mark.parametrize(
    "line",
    [line for block in blocks("bash") for line in block.splitlines() if line.startswith("codeqa")],
)
def test_every_command_of_the_readme_parses(line: str) -> None:
    words = shlex.split(line, comments=True)
    assert make_parser().parse_args(words[1:]).command == words[1]


def test_every_command_is_in_the_readme() -> None:
    parser = make_parser()
    choices = next(action.choices for action in parser._actions if action.dest == "command")
    assert choices
    for name in choices:
        assert f"codeqa {name}" in README


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"`?make ([a-z-]+)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_file_tree_of_the_readme_is_the_tree() -> None:
    tree = README.split("## What is where")[1].split("```")[1].strip()
    listed: set[str] = set()
    folder = ""
    for line in tree.splitlines():
        name = line.split()[0].rstrip(",")
        if line.startswith(" "):
            listed.add(f"{folder}{name}")
        else:
            folder = name
    actual = {
        f"{package}/{file.name}"
        for package in PACKAGES
        for file in (ROOT / package).iterdir()
        if file.suffix in (".py", ".css") and file.name != "__init__.py"
    }
    folders = {name for name in listed if name.endswith("/")}
    assert all((ROOT / name).is_dir() for name in folders)
    assert {name for name in listed - folders if name.startswith(PACKAGES)} == actual


def test_links_of_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in link or (ROOT / link).exists(), link
