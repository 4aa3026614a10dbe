"""The Spark program of a conversion: `python -m data_tools.spark_program JOB.json`.

A process of its own, because a Spark session changes the one that it is in: the search path,
variables, the handling of Ctrl-C, and a Java machine that stays to the end. `convert_spark` writes
the job and watches. When that dies, standard input ends, and so does this, with all of Spark.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from data_tools.mds import import_streaming
from data_tools.spark_worker import row_samples

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INDEX = "index.json"
LOOPBACK = "127.0.0.1"
# Java only hands out numbers here: its quick compiler halves the work of starting it.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:-UsePerfData"


@dataclass(frozen=True)
class SplitJob:
    """One split to convert.

    :param parts: folder that describes its parts, `count` of them.
    :param folder: for the shards; not there yet.
    """

    parts: str
    count: int
    folder: str


@dataclass(frozen=True)
class Job:
    """One conversion.

    :param master: URL of a Spark master; `local[*]` is all cores of this machine.
    :param scratch: folder for what Spark writes besides.
    :param tokenizer: name or folder.
    :param windows: fields of `WindowSettings`.
    :param writer: options of streaming's `MDSWriter`, but where to write.
    """

    master: str
    scratch: str
    tokenizer: str
    windows: dict[str, Any]
    writer: dict[str, Any]
    splits: tuple[SplitJob, ...]

    def write(self, file: Path) -> None:
        """Write the job as JSON."""
        file.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a job that was written."""
        fields = json.loads(file.read_text("utf-8"))
        return cls(**fields | {"splits": tuple(SplitJob(**each) for each in fields["splits"])})


def is_local(master: str) -> bool:
    """Tell whether a master's URL means this machine alone."""
    return master.startswith("local")


def main() -> None:
    """Convert every split of the job that is named on the command line."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = Job.read(Path(sys.argv[1]))
    import_streaming()
    with _session(job) as session:
        for split in job.splits:
            _convert(session, job, split)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # without the lock of `sys.stdin`, which is needed at the end
    os._exit(1)  # the Java machine ends when this process does


def _convert(session: "SparkSession", job: Job, split: SplitJob) -> None:
    from streaming.base.converters import dataframe_to_mds

    dataframe_to_mds(
        session.range(0, split.count, numPartitions=split.count),  # a row a task, in order
        mds_kwargs={"out": split.folder, **job.writer},
        udf_iterable=row_samples,
        udf_kwargs={"folder": split.parts, "tokenizer": job.tokenizer, "windows": job.windows},
    )
    _tidy(Path(split.folder))


def _tidy(folder: Path) -> None:
    """Bring the shards of all tasks into one folder, numbered in the order of the index.

    The converter leaves a folder a task, named by chance, those of tasks that failed among them.
    """
    index = json.loads((folder / INDEX).read_text("utf-8"))
    for number, shard in enumerate(index["shards"]):
        for key in ("raw_data", "zip_data"):
            if not shard[key]:
                continue
            written = folder / shard[key]["basename"]
            name = f"shard.{number:05d}.{written.name.split('.', 2)[2]}"
            shard[key]["basename"] = name
            if written.exists():  # what is compressed is not kept raw as well
                written.rename(folder / name)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    (folder / INDEX).write_text(json.dumps(index, sort_keys=True), "utf-8")


@contextmanager
def _session(job: Job) -> Iterator["SparkSession"]:
    """Open a session that keeps quiet, and to this machine if its master is local."""
    from pyspark.sql import SparkSession

    root = str(Path(__file__).parent.parent)
    settings: dict[str, bool | float | int | str | None] = {
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": job.scratch,
        "spark.driver.extraJavaOptions": f"{JAVA_OPTIONS} -Djava.io.tmpdir={job.scratch}",
        "spark.python.daemon.module": "data_tools.spark_worker",
        "spark.executorEnv.PYTHONPATH": root,
        "spark.executorEnv.TOKENIZERS_PARALLELISM": "false",  # Spark has a task for every core
    }
    if is_local(job.master):
        settings |= {
            "spark.local.dir": job.scratch,
            "spark.driver.bindAddress": LOOPBACK,
            "spark.driver.host": LOOPBACK,
        }
    builder = SparkSession.builder.master(job.master).appName("codeqa convert")
    session = builder.config(map=settings).getOrCreate()
    try:
        yield session
    finally:
        session.stop()


if __name__ == "__main__":
    main()
