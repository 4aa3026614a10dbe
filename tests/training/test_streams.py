"""Streams are mixed as asked, fit their tokenizer, and name what is wrong with them."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data_tools.dataset import read_manifest, write_manifest
from data_tools.errors import DatasetError
from data_tools.mds import Sample
from data_tools.tokenizer import load_tokenizer
from tests.tiny_model import make_tiny_model
from tests.training.tiny_stream import make_stream
from training.config import Stream
from training.streams import (
    NOT_LEARNED,
    Source,
    collate,
    open_loader,
    open_sources,
    open_training_stream,
    open_validation,
)

pytestmark = [
    # streaming leaves closing its files to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tokenizer") / "tiny")


def read_epoch(
    sources: list[Source], folder: Path, *, batch: int = 8, seed: int = 17
) -> npt.NDArray[np.int64]:
    """The windows of one epoch in their order; shape (windows, tokens)."""
    stream = open_training_stream(sources, folder, batch=batch, seed=seed)
    loader = open_loader(stream, batch=batch, workers=0, pinned=False)
    return np.concatenate([inputs["input_ids"].numpy() for inputs in loader])


def test_labels_end_where_the_padding_begins_whatever_its_token_is() -> None:
    end = 7  # pads and ends a text, as in many models
    window = np.array([1, 2, end, 3, end, end, end, end], np.int32)
    inputs = collate([Sample(input_ids=window, length=5), Sample(input_ids=window, length=8)])
    assert inputs["labels"].tolist() == [
        [1, 2, end, 3, end, *[NOT_LEARNED] * 3],
        window.tolist(),
    ]
    assert inputs["input_ids"].tolist() == [window.tolist()] * 2


def test_an_epoch_reads_each_window_once_in_an_order_of_the_seed(
    tmp_path: Path, tokenizer: Path
) -> None:
    words = make_stream(tmp_path / "words", tokenizer, samples=24)
    sources = open_sources([Stream(dataset=str(words))], load_tokenizer(str(tokenizer)))
    first = read_epoch(sources, tmp_path / "a")
    again = read_epoch(sources, tmp_path / "b")
    other = read_epoch(sources, tmp_path / "c", seed=18)
    assert len({row.tobytes() for row in first}) == 24
    assert (first == again).all()
    assert not (first == other).all()
    assert {row.tobytes() for row in first} == {row.tobytes() for row in other}


def test_reading_leaves_the_random_numbers_of_the_run_alone(
    tmp_path: Path, tokenizer: Path
) -> None:
    words = make_stream(tmp_path / "words", tokenizer, samples=8)
    sources = open_sources([Stream(dataset=str(words))], load_tokenizer(str(tokenizer)))
    before = torch.get_rng_state()
    read_epoch(sources, tmp_path / "a")
    assert torch.equal(before, torch.get_rng_state())


def test_streams_are_mixed_by_their_weights(tmp_path: Path, tokenizer: Path) -> None:
    streams = [
        Stream(
            dataset=str(make_stream(tmp_path / name, tokenizer, samples=20, seed=seed)), weight=w
        )
        for name, seed, w in (("code", 1, 3.0), ("replay", 2, 1.0))
    ]
    sources = open_sources(streams, load_tokenizer(str(tokenizer)))
    rows = {row.tobytes() for row in read_epoch(sources[1:], tmp_path / "replay_only")}
    epoch = read_epoch(sources, tmp_path / "both")
    assert len(epoch) == 40
    assert sum(row.tobytes() in rows for row in epoch) == 10


def test_shards_of_another_tokenizer_are_refused_naming_both(
    tmp_path: Path, tokenizer: Path
) -> None:
    words = make_stream(tmp_path / "words", tokenizer)
    other = load_tokenizer(str(tokenizer))
    other.add_tokens(["<extra>"])
    other.save_pretrained(str(tmp_path / "other"))
    with pytest.raises(DatasetError, match=r"tokenised with .*tiny \(\w{12}…\).*other \(\w{12}…\)"):
        open_sources([Stream(dataset=str(words))], load_tokenizer(str(tmp_path / "other")))


def test_a_dataset_of_pairs_and_a_split_that_is_not_there_are_refused(
    tmp_path: Path, tokenizer: Path
) -> None:
    words = make_stream(tmp_path / "words", tokenizer)
    loaded = load_tokenizer(str(tokenizer))
    with pytest.raises(DatasetError, match="nothing in its split `test`; there is train, valid"):
        open_sources([Stream(dataset=str(words), split="test")], loaded)
    pairs = read_manifest(words).model_copy(update={"kind": "pairs"})
    write_manifest(words, pairs)
    with pytest.raises(DatasetError, match="holds pairs, and pretraining reads MDS"):
        open_sources([Stream(dataset=str(words))], loaded)
    with pytest.raises(DatasetError, match="is no dataset|there is no dataset"):
        open_sources([Stream(dataset=str(tmp_path / "none"))], loaded)


def test_every_process_gets_as_many_validation_batches_and_all_windows_are_read_once(
    tmp_path: Path, tokenizer: Path
) -> None:
    words = make_stream(tmp_path / "words", tokenizer, validation=5)
    sources = open_sources([Stream(dataset=str(words))], load_tokenizer(str(tokenizer)))
    (validation,) = open_validation(sources, tmp_path / "shards")
    read = [list(validation.batches(4, 5, rank=rank, processes=2)) for rank in (0, 1)]
    assert len(read[0]) == len(read[1]) == 2
    learned = [
        row.tobytes()
        for batches in read
        for inputs in batches
        for row, labels in zip(inputs["input_ids"].numpy(), inputs["labels"], strict=True)
        if (labels != NOT_LEARNED).any()
    ]
    assert len(learned) == len(set(learned)) == 5


def test_shards_come_from_an_object_store(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    words = make_stream(tmp_path / "words", tokenizer, samples=12)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="data")
        for path in words.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), "data", f"words/{path.relative_to(words)}")
        stream = Stream(dataset="s3://data/words")
        sources = open_sources([stream], load_tokenizer(str(tokenizer)))
        shutil.rmtree(words)
        assert len(read_epoch(sources, tmp_path / "shards")) == 12
    finally:
        server.stop()
