"""Corpora become versioned MDS datasets, whole or not at all, and no document is in two splits."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli import main
from data_tools.convert import ConvertReport, ConvertSettings, convert
from data_tools.dataset import read_manifest, resolve, verify
from data_tools.documents import Corpus, open_corpus
from data_tools.errors import ConfigError, DatasetError, ModelError, StorageError
from data_tools.flatten import flatten
from data_tools.mds_reader import ShardFolder, count_shards
from data_tools.progress import Progress
from data_tools.tokenizer import load_tokenizer, tokenizer_hash
from tests.conftest import TINY_FILES
from tests.data_tools.corpora import decode, make_text, make_texts, tiny_tokenizer, write_texts

EOS = "<|end_of_text|>"
Run = Callable[..., ConvertReport]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_tokenizer(tmp_path_factory.mktemp("made") / "tokenizer")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return open_corpus("txt", [str(write_texts(tmp_path / "notes", make_texts(60)))])


def split_text(folder: Path, split: str, tokenizer: str) -> str:
    """All real tokens of a split, as text."""
    samples = ShardFolder(str(folder / split)).samples()
    ids = [token for item in samples for token in item["input_ids"][: item["length"]]]
    return decode(ids, load_tokenizer(tokenizer))


def listed(folder: Path) -> dict[str, dict[str, object]]:
    lines = (folder / "documents.jsonl").read_text("utf-8").splitlines()
    return {record["path"]: record for record in map(json.loads, lines)}


def test_no_document_leaks_across_splits(tmp_path: Path, tokenizer: str) -> None:
    """Release gate: each document, and whatever is like it, is in the windows of one split."""
    texts = make_texts(60)
    for at in range(1, 21):  # a copy elsewhere, and one that was edited
        texts[f"fork/copy_{at}.txt"] = make_text(at)
        texts[f"fork/edited_{at}.txt"] = make_text(at).replace("x + 0", "x - 1")
    corpus = open_corpus("txt", [str(write_texts(tmp_path / "notes", texts))])
    shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
    out = tmp_path / "out"
    report = convert(corpus, str(out), ConvertSettings(tokenizer, 64, shares=shares), name="out")
    found = {split: split_text(out, split, tokenizer).split(EOS) for split in shares}
    assert all(found.values())
    for path, text in texts.items():
        places = [split for split, documents in found.items() if text in documents]
        assert places == [listed(out)[path]["split"]]
    for at in range(1, 21):
        names = (f"module_{at:03}.txt", f"fork/copy_{at}.txt", f"fork/edited_{at}.txt")
        assert len({(listed(out)[n]["split"], listed(out)[n]["group"]) for n in names}) == 1
    assert sum(counts.near_duplicates for counts in report.splits.values()) == 60


def test_every_document_is_there_whole_once_and_ends(
    tmp_path: Path, corpus: Corpus, tokenizer: str
) -> None:
    report = convert(corpus, str(tmp_path / "out"), ConvertSettings(tokenizer, 64), name="out")
    everything = "".join(split_text(tmp_path / "out", split, tokenizer) for split in report.splits)
    assert sorted(everything.split(EOS)[:-1]) == sorted(make_texts(60).values())
    for split, counts in report.splits.items():
        found = count_shards(tmp_path / "out" / split)
        assert (found.samples, found.tokens) == (counts.samples, counts.tokens)
        assert found.samples == -(-counts.tokens // 64)
        assert split_text(tmp_path / "out", split, tokenizer).count(EOS) == counts.documents


def test_the_manifest_says_what_it_is_made_of(
    tiny_repo: Path, tmp_path: Path, tokenizer: str
) -> None:
    (flattened,) = flatten([str(tiny_repo)], tmp_path / "corpus")
    corpus = open_corpus("txt", [str(tmp_path / "corpus")])
    convert(corpus, str(tmp_path / "out"), ConvertSettings(tokenizer, 32), name="limits")
    manifest = verify(tmp_path / "out")
    assert (manifest.name, manifest.kind) == ("limits", "mds")
    assert manifest.sources[0].commit == flattened.repository.commit
    assert manifest.tokenizer is not None
    assert manifest.tokenizer.sha256 == tokenizer_hash(load_tokenizer(tokenizer))
    assert manifest.settings["eos_text"] == EOS
    assert set(manifest.splits) == {"train", "validation", "test"}
    assert set(listed(tmp_path / "out")) == set(TINY_FILES)
    shards = {name for name in manifest.files if name.endswith(".mds.zstd")}
    assert len(shards) == 3
    index = json.loads((tmp_path / "out" / "train" / "index.json").read_text())
    assert sorted(index["shards"][0]["zip_data"]["hashes"]) == ["sha1", "xxh64"]
    assert resolve(manifest.version) == resolve("limits") == tmp_path / "out"


def test_the_same_inputs_are_skipped_and_changed_ones_are_not(
    tmp_path: Path, tokenizer: str
) -> None:
    folder = write_texts(tmp_path / "notes", make_texts(10))
    out = tmp_path / "out"

    def run(settings: ConvertSettings, *, force: bool = False) -> ConvertReport:
        corpus = open_corpus("txt", [str(folder)])
        return convert(corpus, str(out), settings, name="notes", force=force)

    first = run(ConvertSettings(tokenizer, 64))
    written = (out / "train" / "index.json").stat().st_mtime_ns
    again = run(ConvertSettings(tokenizer, 64))
    assert (again.version, again.up_to_date, again.splits) == (first.version, True, first.splits)
    assert (out / "train" / "index.json").stat().st_mtime_ns == written
    forced = run(ConvertSettings(tokenizer, 64), force=True)
    assert (forced.version, forced.up_to_date) == (first.version, False)
    assert read_manifest(out).files == verify(out).files
    changed = [
        run(ConvertSettings(tokenizer, 32)),
        run(ConvertSettings(tokenizer, 64, seed=5)),
        run(ConvertSettings(tokenizer, 64, bos_text="# ")),
        run(ConvertSettings(tokenizer, 64, wrap=False)),
    ]
    write_texts(folder, {"module_001.txt": "x = 1\n"})
    changed.append(run(ConvertSettings(tokenizer, 64)))
    assert not any(report.up_to_date for report in changed)
    assert len({first.version, *(report.version for report in changed)}) == 6


def test_the_same_inputs_give_the_same_shards(
    tmp_path: Path, corpus: Corpus, tokenizer: str
) -> None:
    for name in ("a", "b"):
        convert(corpus, str(tmp_path / name), ConvertSettings(tokenizer, 64), name="notes")
    one, two = (read_manifest(tmp_path / name) for name in ("a", "b"))
    assert one.hash == two.hash
    assert {n: h for n, h in one.files.items() if n.endswith("zstd")} == {
        n: h for n, h in two.files.items() if n.endswith("zstd")
    }


def test_progress_is_reported_to_the_end(tmp_path: Path, corpus: Corpus, tokenizer: str) -> None:
    seen: list[Progress] = []
    settings = ConvertSettings(tokenizer, 64)
    convert(corpus, str(tmp_path / "out"), settings, name="out", report=seen.append)
    for stage in ("deal", "tokenize"):
        steps = [step.done for step in seen if step.stage == stage]
        assert steps == sorted(steps)
        assert steps[-1] == 60


def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, corpus: Corpus, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ConvertSettings(tokenizer, 64)
    before = convert(corpus, str(tmp_path / "out"), settings, name="out")

    def full(algorithm: str | None, data: bytes) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("streaming.base.format.base.writer.compress", full)
    with pytest.raises(StorageError, match="the disk is full"):
        convert(corpus, str(tmp_path / "out"), ConvertSettings(tokenizer, 32), name="out")
    assert verify(tmp_path / "out").version == before.version
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out"]


def test_a_damaged_shard_is_named_and_made_again(
    tmp_path: Path, corpus: Corpus, tokenizer: str
) -> None:
    settings = ConvertSettings(tokenizer, 64)
    convert(corpus, str(tmp_path / "out"), settings, name="out")
    shard = tmp_path / "out" / "train" / "shard.00000.mds.zstd"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(DatasetError, match=r"train/shard\.00000\.mds\.zstd .* its sha256 is"):
        verify(tmp_path / "out")
    convert(corpus, str(tmp_path / "out"), settings, name="out", force=True)
    verify(tmp_path / "out")


@pytest.mark.parametrize("out", ["notes", "notes/out", ".", ".."])
def test_an_output_that_overlaps_its_input_is_refused(
    tmp_path: Path, corpus: Corpus, tokenizer: str, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="overlap; choose another --out"):
        convert(corpus, out, ConvertSettings(tokenizer, 64), name="out")


def test_settings_that_streaming_does_not_take_are_refused(
    tmp_path: Path, corpus: Corpus, tokenizer: str
) -> None:
    with pytest.raises(ConfigError, match="there is no compression zip"):
        convert(
            corpus,
            str(tmp_path / "out"),
            ConvertSettings(tokenizer, 64, compression="zip"),
            name="a",
        )
    assert not (tmp_path / "out").exists()


def test_an_unknown_tokenizer_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        convert(corpus, str(tmp_path / "out"), ConvertSettings(str(tmp_path / "empty")), name="a")


def test_the_commands_make_a_tokenizer_and_a_dataset(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, tokenizer, out = (str(tmp_path / name) for name in ("corpus", "tokenizer", "shards"))
    assert main(["flatten", str(tiny_repo), "--out", corpus]) == 0
    making = ["tokenizer", corpus, "--out", tokenizer, "--vocab-size", "600"]
    assert main(making) == 0
    assert "written, 600 tokens, hash " in capsys.readouterr().out
    assert main(making) == 0
    assert "up to date" in capsys.readouterr().out
    converting = ["convert", "txt", corpus, "--out", out, "--tokenizer", tokenizer]
    converting += ["--concat-tokens", "64", "--hashes", "xxh64", "sha256"]
    assert main(converting) == 0
    printed = capsys.readouterr().out
    version = read_manifest(Path(out)).version
    assert f"written: {version}" in printed
    assert "train: " in printed
    assert main([*converting, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["up_to_date"]
    assert record["splits"]["train"]["documents"] >= 1
    assert main(["datasets"]) == 0
    assert version in capsys.readouterr().out
    assert main(["datasets", version]) == 0
    assert f"{out}: {version}" in capsys.readouterr().out


def test_bad_arguments_get_one_line(
    tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_texts(tmp_path / "notes", {"a.txt": "a"})
    rows = write_texts(tmp_path, {"rows.jsonl": '{"text": "a"}\n{"a": 1}\n'}) / "rows.jsonl"
    txt, end = ["convert", "txt", str(folder)], ["--tokenizer", tokenizer]
    out = ["--out", str(tmp_path / "out")]
    cases = {
        "shares of the splits must be at least 0 and sum to 1": [*txt, *out, *end, "--shares"]
        + ["0.9", "0.9", "0.9"],
        "there is no hash md6": [*txt, *out, *end, "--hashes", "md6"],
        "rows.jsonl:2: it needs `prompt` and `response`": ["convert", "jsonl", str(rows), *out]
        + end,
        "cannot be called": [*txt, *out, *end, "--name", "a/b"],
        "is in no object store that is known": [*txt, "--out", "ftp://host/path", *end],
        "names no bucket": [*txt, "--out", "s3:///path", *end],
        "there is no dataset none": ["datasets", "none"],
        "there is no ": ["tokenizer", str(tmp_path / "gone"), *out],
    }
    for message, arguments in cases.items():
        assert main(arguments) == 1
        shown = capsys.readouterr().err.splitlines()
        assert message in shown[-1]
        assert not (tmp_path / "out").exists()


def test_rows_of_jsonl_are_dealt_and_converted(tmp_path: Path, tokenizer: str) -> None:
    rows = [{"prompt": make_text(at, 3), "response": make_text(at + 100, 3)} for at in range(1, 31)]
    rows.append(rows[0])  # the same row again: in the same split
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = open_corpus("jsonl", [str(file)])
    report = convert(corpus, str(tmp_path / "out"), ConvertSettings(tokenizer, 64), name="rows")
    found = {split: split_text(tmp_path / "out", split, tokenizer) for split in report.splits}
    assert sorted("".join(found.values()).split(EOS)[:-1]) == sorted(
        row["prompt"] + row["response"] for row in rows
    )
    places = listed(tmp_path / "out")
    assert places["rows.jsonl#1"]["split"] == places["rows.jsonl#31"]["split"]
