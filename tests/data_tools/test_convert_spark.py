"""Conversion on a real local Spark: the local engine's samples, or one line of what is wrong."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import pytest

from data_tools.convert import ConvertReport, ConvertSettings, convert
from data_tools.convert_spark import check_spark, missing_for_spark
from data_tools.dataset import DOCUMENTS, MANIFEST, verify
from data_tools.documents import Corpus, open_corpus
from data_tools.errors import DatasetError
from data_tools.mds_reader import ShardFolder
from data_tools.progress import Progress
from data_tools.spark_worker import row_samples, write_part
from data_tools.tokenizer import load_tokenizer
from data_tools.windows import WindowSettings, part_samples, plan_parts
from tests.data_tools.corpora import make_texts, tiny_tokenizer, write_texts

ROOT = Path(__file__).parent.parent.parent
SPLITS = ("train", "validation", "test")
MASTER = "local[1]"

needs_spark = pytest.mark.skipif(
    missing_for_spark() is not None, reason=f"Spark cannot run: {missing_for_spark()}"
)


@dataclass(frozen=True)
class Both:
    """A corpus, and what both engines made of it."""

    local: ConvertReport
    spark: ConvertReport
    steps: list[Progress]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("spark")
    corpus, settings = make_corpus(folder)
    steps: list[Progress] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEQA_DATASETS", str(folder / "versions"))
        local = convert(corpus, str(folder / "local"), settings, name="nonsense")
        spark = on_spark(corpus, settings, folder / "spark", report=steps.append)
    return Both(local, spark, steps)


def make_corpus(folder: Path) -> tuple[Corpus, ConvertSettings]:
    """Twenty documents, and settings that make several parts of them."""
    corpus = open_corpus("txt", [str(write_texts(folder / "texts", make_texts(20)))])
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    return corpus, ConvertSettings(tokenizer, 64, shares=shares, part_bytes=5_000)


def on_spark(
    corpus: Corpus,
    settings: ConvertSettings,
    out: Path,
    *,
    master: str = MASTER,
    report: Callable[[Progress], None] | None = None,
) -> ConvertReport:
    """Convert on Spark."""
    return convert(
        corpus, str(out), settings, name="nonsense", engine="spark", master=master, report=report
    )


def samples(folder: str) -> list[tuple[list[int], int]]:
    return [
        (sample["input_ids"].tolist(), int(sample["length"]))
        for sample in ShardFolder(folder).samples()
    ]


def processes_that_name(text: str) -> list[str]:
    """Command lines of running processes that hold a text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it has ended meanwhile
            continue
        if text in command:
            found.append(command)
    return found


@pytest.mark.spark
@needs_spark
def test_both_engines_write_the_same_samples_in_the_same_order(both: Both) -> None:
    for split in SPLITS:
        found = samples(f"{both.spark.location}/{split}")
        assert found == samples(f"{both.local.location}/{split}")
        assert len(found) == both.spark.splits[split].samples > 0


@pytest.mark.spark
@needs_spark
def test_both_engines_make_the_same_version(both: Both) -> None:
    local, spark = (verify(Path(each.location)) for each in (both.local, both.spark))
    assert spark.version == local.version
    assert spark.splits == local.splits
    documents = (Path(both.spark.location, DOCUMENTS), Path(both.local.location, DOCUMENTS))
    assert documents[0].read_bytes() == documents[1].read_bytes()


@pytest.mark.spark
@needs_spark
def test_nothing_but_shards_is_left(both: Both) -> None:
    folder = Path(both.spark.location)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    shards = {name for name in names if ".mds" in name}
    indexes = {f"{split}/index.json" for split in SPLITS}
    assert names - shards == {*SPLITS, DOCUMENTS, MANIFEST} | indexes
    assert sum(name.startswith("train/shard.0000") for name in shards) > 2


@pytest.mark.spark
@needs_spark
def test_progress_is_told_in_parts(both: Both) -> None:
    steps = [step for step in both.steps if step.stage == "spark"]
    assert steps[0].done == 0
    assert steps[-1].done == steps[-1].total
    assert steps[-1].total and steps[-1].total > 4


@pytest.mark.spark
@needs_spark
def test_a_document_that_a_worker_cannot_read_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    corpus, settings = make_corpus(tmp_path)

    def damage(step: Progress) -> None:
        if step.stage == "spark":  # after everything was read here
            (tmp_path / "texts" / "module_007.txt").write_bytes(b"\xff\xfe\xfd")

    with pytest.raises(DatasetError, match=r"^\S+module_007\.txt is not UTF-8 text; save it"):
        on_spark(corpus, settings, tmp_path / "out", report=damage)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        "texts",
        "tokenizer",
        "tokenizer-texts",
    }
    assert not processes_that_name(str(tmp_path))


@pytest.mark.spark
@needs_spark
def test_a_master_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    corpus, settings = make_corpus(tmp_path)
    with pytest.raises(
        DatasetError, match=r"\(SparkException: Master must .*--master nowhere"
    ) as no:
        on_spark(corpus, settings, tmp_path / "out", master="nowhere")
    assert "\n" not in str(no.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.spark
@needs_spark
def test_spark_ends_when_the_conversion_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from tests.data_tools.test_convert_spark import make_corpus, on_spark\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "on_spark(*make_corpus(folder), folder / 'out')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(lambda: any("java" in each for each in processes_that_name(str(tmp_path))))
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not processes_that_name(str(tmp_path)))
    assert not (tmp_path / "out" / "manifest.json").exists()


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something to be so, and fail if it is not within the time."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_rows_are_converted_as_parts_are(tmp_path: Path) -> None:
    corpus, settings = make_corpus(tmp_path)
    windows = WindowSettings(64)
    parts = plan_parts(corpus.documents, settings.part_bytes)
    for part in parts:
        write_part(part, tmp_path)
    rows = pandas.DataFrame({"id": [2, 1]})
    converted = row_samples(rows, str(tmp_path), settings.tokenizer, {"concat_tokens": 64})
    tokenizer = load_tokenizer(settings.tokenizer)
    expected = [s for at in (2, 1) for s in part_samples(parts[at], tokenizer, windows)]
    for found, sample in zip(converted, expected, strict=True):
        assert np.array_equal(found["input_ids"], sample["input_ids"])
        assert found["length"] == sample["length"]


def test_what_spark_lacks_is_said_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(DatasetError) as raised:
        check_spark()
    assert "`pip install -r requirements-spark.txt`" in str(raised.value)
    assert "openjdk-17-jre-headless" in str(raised.value)
