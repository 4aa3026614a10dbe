"""Secrets are found and taken out; code, names and placeholders are left as they are."""

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.planted_secrets import KINDS, plant_decoys, plant_secrets
from data_tools import secrets
from data_tools.documents import open_corpus, read_document
from data_tools.filters import reason_to_skip_path
from data_tools.flatten import flatten
from data_tools.history import find_changes
from data_tools.secrets import find_secrets, redact, say_redacted
from data_tools.snapshot import open_local
from data_tools.sources import SkippedFile, SourceFile, open_source
from tests.git_repositories import MakeRepo, commit_files

DRAW = random.Random(6)
GITHUB = KINDS["GitHub token"][0](DRAW)
STRIPE = KINDS["long Stripe key"][0](DRAW)
AWS = KINDS["AWS access key"][0](DRAW)
PASSWORD = KINDS["generated password"][0](DRAW)
PRIVATE_KEY = KINDS["private key"][0](DRAW)
WEB_TOKEN = KINDS["JSON web token"][0](DRAW)


def test_a_secret_is_replaced_by_its_kind_where_it_stood() -> None:
    found = redact(f'client = Client(\n    token="{GITHUB}",\n    retries=3,\n)\n', "client.py")
    assert (
        found.text == 'client = Client(\n    token="[redacted: GitHub token]",\n    retries=3,\n)\n'
    )
    assert found.kinds == ("GitHub token",)


def test_a_key_that_has_grown_is_taken_out_whole() -> None:
    assert redact(f"key: {STRIPE} # live\n").text == "key: [redacted: Stripe key] # live\n"


def test_a_private_key_goes_from_its_first_line_to_its_last_and_lines_keep_their_numbers() -> None:
    text = f'KEY = """{PRIVATE_KEY}"""\n\nafter = 1\n'
    found = redact(text, "key.py")
    assert found.kinds == ("private key",)
    assert found.text.count("\n") == text.count("\n")
    assert found.text.startswith('KEY = """[redacted: private key]\n')
    assert found.text.endswith('"""\n\nafter = 1\n')
    assert not any(line in found.text for line in PRIVATE_KEY.split("\n"))


@pytest.mark.parametrize("cut", [3, 9, 17])
def test_a_private_key_that_is_cut_off_takes_nothing_else_along(cut: int) -> None:
    head = "\n".join(PRIVATE_KEY.split("\n")[:cut])
    found = redact(f"{head}\n\ndef go_on():\n    return 1\n")
    assert found.text.endswith("def go_on():\n    return 1\n")
    assert head.split("\n")[-1] not in found.text


def test_a_private_key_in_json_and_in_a_string_of_many_lines_is_found() -> None:
    as_json = json.dumps({"private_key": PRIVATE_KEY, "id": 7})
    assert json.loads(redact(as_json, "a.json").text)["private_key"] == "[redacted: private key]"
    quoted = "\n".join(f'    "{line}\\n"' for line in PRIVATE_KEY.split("\n"))
    assert redact(f"KEY = (\n{quoted}\n)\n", "a.py").kinds == ("private key",)


def test_a_web_token_goes_with_its_signature() -> None:
    header = f'curl -H "Authorization: Bearer {WEB_TOKEN}" https://api.corp.net\n'
    text = redact(header, "a.sh").text
    assert text == 'curl -H "Authorization: Bearer [redacted: web token]" https://api.corp.net\n'


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("a.py", 'db_password: str = "', '"\n'),
        ("a.js", "  dbPassword: '", "',\n"),
        ("a.go", 'password := "', '"\n'),
        ("a.rb", ":db_password => '", "'\n"),
        ("a.yaml", "password: ", " # of the database\n"),
        ("a.yaml", "- name: DB_PASSWORD\n  value: ", "\n"),
        ("a.ini", "password = ", "\n"),
        ("a.sh", "export DB_PASSWORD=", "\n"),
        ("a.md", "Set `DB_PASSWORD=", "` first.\n"),
        ("a.json", '{"name": "DB_PASSWORD", "value": "', '"}\n'),
        ("a.py", '"postgres://app:', '@db:5432/main"\n'),
    ],
)
def test_a_password_is_told_by_its_name_however_it_is_written(
    path: str, before: str, after: str
) -> None:
    secret = "wX7kP2mQ" + "9vTz4"
    found = redact(before + secret + after, path)
    assert len(found.kinds) == 1
    assert found.text == f"{before}[redacted: {found.kinds[0]}]{after}"


@pytest.mark.parametrize("decoy", plant_decoys(5), ids=lambda decoy: decoy.kind)
def test_what_only_looks_like_a_secret_is_left(decoy) -> None:
    assert redact(decoy.text, decoy.path).text == decoy.text


def test_a_comment_for_another_scanner_changes_nothing() -> None:
    line = f'token = "{GITHUB}"  # pragma: allowlist secret\n'
    assert GITHUB not in redact(line, "a.py").text


def test_redacting_again_finds_nothing() -> None:
    for planted in plant_secrets(3, each=3):
        once = redact(planted.text, planted.path)
        assert redact(once.text, planted.path).kinds == (), planted.path


def test_what_rust_lets_through_holds_nothing_that_python_would_find() -> None:
    """The screens and the patterns agree, with keys and without, in every sort of file."""
    texts = [(each.text, each.path) for each in (*plant_secrets(4, each=6), *plant_decoys(4))]
    here = Path(secrets.__file__).parents[1]
    texts += [(file.read_text("utf-8"), file.name) for file in sorted(here.glob("app/*.py"))[:40]]
    for text, path in texts:
        assert find_secrets(text, path) == find_secrets(text, path, screened=False), path


@given(st.text(st.sampled_from("AKIghp_sk-eyJ.:/@ \n\"'=passwordtokenBEGIN019\u00e9\u212a\u0130")))
def test_screens_and_patterns_agree_on_any_text(text: str) -> None:
    assert find_secrets(text) == find_secrets(text, screened=False)
    assert redact(text).text.count("\n") == text.count("\n")


def test_half_a_surrogate_pair_hides_no_secret() -> None:
    assert GITHUB not in redact(f"\ud83d {GITHUB}").text


@pytest.mark.parametrize(
    "line",
    [
        "sk-" * 1_600,
        "eyJ" * 1_600,
        "eyJ-" * 1_200,
        "key" + " " * 4_990,
        "`" * 5_000,
        "//" * 2_500,
        "secret" * 800,
        "aws_key_" * 600,
        "-----BEGIN " * 400,
        "http://a:" * 500,
        "\\u0041" * 800,
        "password=" + "a1" * 2_400,
        "AKC" * 1_600,
    ],
)
def test_text_made_to_take_long_does_not(line: str) -> None:
    """Much of it, with keys between, so that every line is looked at closely."""
    keys = f" {GITHUB} {WEB_TOKEN} token={PASSWORD} -----BEGIN " + "PRIVATE KEY-----\n"
    text = (line + keys) * (300_000 // len(line + keys))
    started_s = time.process_time()
    assert GITHUB not in redact(text, "a.md").text
    assert time.process_time() - started_s < 10


def test_files_that_are_there_to_hold_keys_are_skipped_by_their_names() -> None:
    for path in (
        ".env",
        "app/.env.production",
        "id_rsa",
        "tls/server.pem",
        "secrets.yaml",
        "gcp/service-account.json",
        "client_secret_12.json",
        "prod.tfvars",
        ".npmrc",
    ):
        assert reason_to_skip_path(path, 10) == "holds keys (by its name)", path
    for path in (
        ".env.example",
        "secrets.py",
        "docs/secrets.md",
        "token.json",
        "env.yaml",
        "credentials_provider.go",
        "keys.ts",
    ):
        assert reason_to_skip_path(path, 10) != "holds keys (by its name)", path


def test_a_repository_is_read_without_its_secrets(make_repo: MakeRepo) -> None:
    notebook = {"cells": [{"cell_type": "code", "source": [f'token = "{GITHUB}"\n']}]}
    files = {
        "plain.py": "x = 1\n",
        "client.py": f'KEYS = ["{AWS}", "{GITHUB}"]\n',
        "explore.ipynb": json.dumps(notebook),
        ".env": f"TOKEN={GITHUB}\n",
    }
    read = list(open_source(str(make_repo(files))).files())
    kept = {file.path: file for file in read if isinstance(file, SourceFile)}
    assert kept["client.py"].secrets == ("AWS key", "GitHub token")
    assert kept["explore.ipynb"].secrets == ("GitHub token",)
    assert kept["plain.py"].secrets == ()
    assert not any(secret in file.text for file in kept.values() for secret in (AWS, GITHUB))
    assert [file.path for file in read if isinstance(file, SkippedFile)] == [".env"]


def test_the_hash_of_a_file_with_a_short_password_does_not_give_it_away(tmp_path: Path) -> None:
    def hash_of(secret: str) -> str:
        (tmp_path / "a.py").write_text(f'password = "{secret}"\n')
        [file] = open_source(str(tmp_path)).files()
        assert isinstance(file, SourceFile) and file.secrets
        return file.sha256

    assert hash_of("kP7xQ2m9" + "Zt") == hash_of("mQ4vT8k2" + "Wb")


def test_a_flattened_repository_and_what_datasets_are_made_of_hold_no_secret(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    flatten([str(make_repo({"a.py": f'token = "{GITHUB}"\n'}))], tmp_path / "flat")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "own.txt").write_text(f"Log in with {GITHUB}.\n")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "The key?", "response": f"It is {AWS}."}) + "\n")
    texts = open_corpus("txt", [str(tmp_path / "flat"), str(notes)]).documents
    for document in (*texts, *open_corpus("jsonl", [str(rows)]).documents):
        text = read_document(document)
        assert "[redacted: " in text and GITHUB not in text and AWS not in text


def test_what_commits_say_holds_no_secret(make_repo: MakeRepo) -> None:
    from data_tools.docstrings import find_definitions

    repo = make_repo({"a.py": "def rotate():\n    return 1\n"})
    commit_files(
        repo, {"a.py": "def rotate():\n    return 2\n"}, f"Rotate the leaked token {GITHUB}"
    )
    snapshot = open_local(repo, None, name="repo")
    files = [file for file in snapshot.files() if isinstance(file, SourceFile)]
    definitions = {file.path: find_definitions(file) for file in files}
    subjects = [change.subject for change in find_changes(snapshot, definitions, limit=10)]
    assert subjects == ["Rotate the leaked token"]


def test_what_was_taken_out_is_said_by_kind() -> None:
    assert say_redacted({}) == ""
    assert say_redacted({"AWS key": 1}) == "1 secret redacted (AWS key: 1)"
    counts = Counter(["password", "AWS key", "password"])
    assert say_redacted(counts) == "3 secrets redacted (password: 2, AWS key: 1)"
