"""Datasets in an object store, over real HTTP: written, read by streaming, fetched by version."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.convert import ConvertReport, ConvertSettings, convert
from data_tools.dataset import resolve, verify
from data_tools.documents import open_corpus, read_document
from data_tools.errors import DatasetError, StorageError
from data_tools.mds import import_streaming
from data_tools.mds_reader import ShardFolder
from data_tools.object_store import check_address, download, exists, read_text, upload, write_text
from tests.data_tools.corpora import make_texts, tiny_tokenizer, write_texts

BUCKET = "s3://codeqa"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty bucket."""
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("S3_ENDPOINT_URL", server)
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="codeqa")
    for item in client.list_objects_v2(Bucket="codeqa").get("Contents", []):
        client.delete_object(Bucket="codeqa", Key=item["Key"])
    client.close()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_tokenizer(tmp_path_factory.mktemp("made") / "tokenizer")


def convert_notes(tmp_path: Path, tokenizer: str, url: str, *, tokens: int = 64) -> ConvertReport:
    corpus = open_corpus("txt", [str(write_texts(tmp_path / "notes", make_texts(20)))])
    return convert(corpus, url, ConvertSettings(tokenizer, tokens), name="notes")


def test_files_are_sent_and_fetched(tmp_path: Path) -> None:
    write_texts(tmp_path / "here", {"a.txt": "one", "b/c.txt": "two"})
    upload(tmp_path / "here", f"{BUCKET}/x", ["a.txt", "b/c.txt"])
    assert read_text(f"{BUCKET}/x/b/c.txt") == "two"
    download(f"{BUCKET}/x/a.txt", tmp_path / "there" / "a.txt")
    assert (tmp_path / "there" / "a.txt").read_text() == "one"
    write_text("three", f"{BUCKET}/x/a.txt")
    download(f"{BUCKET}/x/a.txt", tmp_path / "there" / "a.txt")
    assert (tmp_path / "there" / "a.txt").read_text() == "three"
    assert (tmp_path / "here" / "a.txt").read_text() == "one"
    assert exists(f"{BUCKET}/x/a.txt")
    assert not exists(f"{BUCKET}/x/a")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # streaming leaves files to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_streaming_reads_back_what_was_written(tmp_path: Path, tokenizer: str) -> None:
    report = convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes")
    streaming = import_streaming()
    dataset = streaming.StreamingDataset(
        remote=f"{BUCKET}/notes", local=str(tmp_path / "cache"), split="train", batch_size=1
    )
    assert len(dataset) == report.splits["train"].samples
    lengths = [int(dataset[at]["length"]) for at in range(len(dataset))]
    assert sum(lengths) == report.splits["train"].tokens


def test_a_version_is_fetched_by_its_name_and_checked(tmp_path: Path, tokenizer: str) -> None:
    report = convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes")
    folder = resolve(report.version)
    assert verify(folder).version == report.version
    write_text("damaged", f"{BUCKET}/notes/train/index.json")
    write_text("damaged", f"{BUCKET}/notes/manifest.json")
    assert resolve("notes") == folder  # it is here by now


def test_a_version_that_is_damaged_or_another_by_now_is_not_fetched(
    tmp_path: Path, tokenizer: str
) -> None:
    first = convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes")
    manifest = read_text(f"{BUCKET}/notes/manifest.json")
    write_text("damaged", f"{BUCKET}/notes/train/index.json")
    with pytest.raises(DatasetError, match=r"train/index\.json of .* is damaged: its sha256"):
        resolve(first.version)
    second = convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes", tokens=32)
    assert json.loads(manifest)["hash"] != verify(resolve(f"{BUCKET}/notes")).hash
    with pytest.raises(DatasetError, match=f"no longer holds {first.version} but {second.version}"):
        resolve(first.version)


def test_the_same_dataset_is_not_sent_again(tmp_path: Path, tokenizer: str) -> None:
    first = convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes")
    second = convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes/")
    assert (second.version, second.up_to_date) == (first.version, True)
    third = convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes", tokens=32)
    assert not third.up_to_date
    manifest = json.loads(read_text(f"{BUCKET}/notes/manifest.json"))
    assert manifest["hash"].startswith(third.version.partition("@")[2])


def test_until_the_manifest_is_there_a_dataset_is_unfinished(
    tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes")
    sent = upload

    def cut_off(folder: Path, url: str, names: list[str], **options: object) -> None:
        sent(folder, url, names[: len(names) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr("data_tools.dataset_output.upload", cut_off)
    with pytest.raises(KeyboardInterrupt):
        convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes", tokens=32)
    with pytest.raises(DatasetError, match="was not written to its end; run its conversion again"):
        resolve(first.version)
    monkeypatch.undo()


def test_a_remote_dataset_is_converted_again(tmp_path: Path, tokenizer: str) -> None:
    convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes")
    corpus = open_corpus("mds", [f"{BUCKET}/notes"])
    assert {item.path: read_document(item) for item in corpus.documents} == make_texts(20)
    with pytest.raises(DatasetError, match="overlap"):
        convert(corpus, f"{BUCKET}/notes/again", ConvertSettings(tokenizer, 32), name="again")
    convert(corpus, f"{BUCKET}/again", ConvertSettings(tokenizer, 32), name="again")
    assert len(ShardFolder(f"{BUCKET}/again/train")) > 0


def test_a_store_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="cannot read s3://nobody/notes"):
        convert_notes(tmp_path, tokenizer, "s3://nobody/notes")
    with pytest.raises(StorageError, match=r"cannot read s3://codeqa/none.*check the address"):
        read_text(f"{BUCKET}/none")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StorageError, match="credentials") as caught:
        convert_notes(tmp_path, tokenizer, f"{BUCKET}/notes")
    assert "\n" not in str(caught.value)


def test_what_google_s_store_needs_is_named(
    tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("google", "google.auth", "google.cloud", "google.cloud.storage"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("GCS_KEY", "GCS_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StorageError, match="run `pip install google-cloud-storage`"):
        convert_notes(tmp_path, tokenizer, "gs://bucket/notes")


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "http://host/x"])
def test_addresses_that_cannot_be_written_to_are_refused(url: str) -> None:
    with pytest.raises(StorageError, match="object store that is known|names no bucket"):
        check_address(url)
