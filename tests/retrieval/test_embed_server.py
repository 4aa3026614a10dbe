"""Embedding models behind a server: over real HTTP, with its faults."""

from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from data_tools.errors import EmbedderError, EmbedderMismatchError
from retrieval import CodeIndex
from retrieval.embed import Embedder, open_embedder
from retrieval.embed_server import BATCH_TEXTS, ServerEmbedder
from retrieval.views import text_view
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo
from tests.stub_embeddings import StubEmbeddings

TEXTS = [f"text number {number}" for number in range(3 * BATCH_TEXTS + 1)]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def patient(stub: StubEmbeddings) -> Embedder:
    return ServerEmbedder(stub.url, retries=2, timeout_s=5)


def error_of(address: str) -> str:
    with pytest.raises(EmbedderError) as caught:
        ServerEmbedder(address, retries=0, timeout_s=1).embed(["text"])
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_vectors_of_a_server_have_unit_length_and_the_order_of_the_texts() -> None:
    with StubEmbeddings() as stub:
        embedder = open_embedder(f"{stub.url}#stub-embedder")
        vectors = embedder.embed(TEXTS)
        assert embedder.dimension == FakeEncoder.dimension
        np.testing.assert_allclose(vectors, FakeEncoder().embed(TEXTS), atol=1e-6)
        np.testing.assert_array_equal(embedder.embed_query(TEXTS[5]), vectors[5])
        assert embedder.embed([]).shape == (0, embedder.dimension)
    assert sorted(map(len, stub.batches)) == [1, 1, 1, *[BATCH_TEXTS] * 3]


def test_the_only_model_of_a_server_need_not_be_named() -> None:
    with StubEmbeddings() as stub:
        assert open_embedder(stub.url).name == f"{stub.url}#stub-embedder"


def test_of_several_models_one_must_be_chosen() -> None:
    with StubEmbeddings(models=("small", "large")) as stub:
        assert f"{stub.url}#MODEL: small, large" in error_of(stub.url)
        assert open_embedder(f"{stub.url}#large").embed(["text"]).shape == (1, 64)
        assert "has no embedding model huge" in error_of(f"{stub.url}#huge")


def test_a_busy_server_is_asked_again() -> None:
    with StubEmbeddings(answers=(429, 429)) as stub:
        assert len(patient(stub).embed(["text"])) == 1
        assert stub.requests == 4  # the text's two refusals and its answer, and the probe


def test_a_server_that_stays_broken_is_given_up() -> None:
    with StubEmbeddings(answers_left=0) as stub:
        assert "gave up (HTTP 503: " in error_of(stub.url)


def test_a_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with StubEmbeddings(api_key="secret-key-1") as stub:
        assert "set OPENAI_API_KEY" in error_of(stub.url)
        monkeypatch.setenv("OPENAI_API_KEY", "another-secret")
        assert "another-secret" not in error_of(stub.url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret-key-1")
        embedder = open_embedder(stub.url)
        assert len(embedder.embed(["text"])) == 1
        assert "secret" not in embedder.name + embedder.fingerprint


def test_a_password_in_the_address_is_refused_without_showing_it() -> None:
    message = error_of("http://me:hunter2@localhost:8000/v1")
    assert "OPENAI_API_KEY" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "address", ["http://", "http://[::1", "http://host:port/v1", "http://h?k=1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    assert "write it as http://HOST:PORT/v1#MODEL" in error_of(address)


def test_nobody_at_the_address_is_said_so() -> None:
    with StubEmbeddings() as stub:
        url = stub.url
    assert f"nothing answers at {url}: start the server" in error_of(f"{url}#model")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("<!doctype html>", "does not speak the OpenAI protocol"),
        ('{"data": 7}', "does not speak the OpenAI protocol"),
        ('{"data": [{"index": 0, "embedding": [NaN, 1]}]}', "empty or no numbers"),
        ('{"data": [{"index": 0, "embedding": [0, 0]}]}', "empty or no numbers"),
        ('{"data": [{"index": 0, "embedding": [1, 0]}]}', "another model is served"),
        ('{"data": []}', "empty or no numbers"),
    ],
)
def test_an_answer_that_is_no_embedding_is_refused(answer: str, reason: str) -> None:
    with StubEmbeddings() as stub:
        embedder = ServerEmbedder(stub.url, retries=0)
        assert embedder.dimension == 64
        stub.answers.append(answer)
        with pytest.raises(EmbedderError, match=reason):
            embedder.embed(["text"])


def test_a_text_too_long_for_the_model_is_shortened_alone() -> None:
    with StubEmbeddings(context_chars=400) as stub:
        texts = ["short", "word " * 300, "brief"]
        vectors = open_embedder(stub.url).embed(texts)
    expected = ["short", ("word " * 300)[:375], "brief"]
    np.testing.assert_allclose(vectors, FakeEncoder().embed(expected), atol=1e-6)


def test_another_model_under_the_same_name_has_another_fingerprint() -> None:
    with StubEmbeddings() as stub:
        first = open_embedder(stub.url).fingerprint
        assert open_embedder(stub.url).fingerprint == first
        stub.sign = -1
        assert open_embedder(stub.url).fingerprint != first
        stub.sign, stub.dimension = 1, 32
        assert open_embedder(stub.url).fingerprint != first
        stub.dimension, stub.models = 64, ("other",)
        assert open_embedder(stub.url).fingerprint != first


def test_an_index_is_made_and_searched_with_a_server(tiny_repo: Path, tmp_path: Path) -> None:
    with StubEmbeddings() as stub:
        CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=stub.url).close()
        with CodeIndex.open(tmp_path / "index") as index:
            assert index.manifest.embedder.name == f"{stub.url}#stub-embedder"
            chunk = index.chunks()[3]
            question = text_view(chunk).strip()
            assert index.search(question, mode="dense")[0].chunk == chunk
            assert stub.batches[-1] == [question]


def test_an_index_of_another_model_is_refused_with_the_way_out(
    tiny_repo: Path, tmp_path: Path
) -> None:
    with StubEmbeddings() as stub:
        CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=stub.url).close()
        stub.dimension = 32
        way_out = f"run `codeqa index --index {tmp_path / 'index'} --embedder {stub.url}"
        old = CodeIndex.open(tmp_path / "index")
        with old, pytest.raises(EmbedderMismatchError, match=way_out):
            old.search("tokens")
        index = CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=stub.url)
        assert index.search("tokens")
        index.close()


def test_a_server_that_dies_loses_nothing_that_was_saved(
    make_repo: MakeRepo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = make_repo({f"notes/{n}.md": f"# Note {n}\n\nIt says {n} * {n}.\n" for n in range(700)})
    with StubEmbeddings(answers_left=40) as stub:
        command = ["index", str(repo), "--index", str(tmp_path / "index"), "--embedder", stub.url]
        assert main(command) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "gave up (HTTP 503" in error
        assert "what was embedded is kept" in error
        first, stub.answers_left = stub.texts, None
        assert len(first) > 512
        stub.batches.clear()
        assert main(command) == 0
        assert len({text for text in stub.texts if "\n" in text}) == 700 - 512
        assert "700 chunks" in capsys.readouterr().out
