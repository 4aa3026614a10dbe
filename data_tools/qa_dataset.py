"""Pairs as a dataset: one JSONL file a split, and the manifest that names the version."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from data_tools.dataset import (
    DatasetManifest,
    DatasetSource,
    SplitCounts,
    make_manifest,
    new_dataset,
    register,
    write_manifest,
)
from data_tools.sources import WORKTREE, Snapshot, SourceFile
from data_tools.split import SPLITS
from data_tools.storage import storage_errors


def identify(snapshot: Snapshot) -> dict[str, JsonValue]:
    """Say which text a repository holds: by its commit, or for a plain folder by a hash of it.

    :raises SourceError: it cannot be read.
    """
    repository = snapshot.repository
    identity: dict[str, JsonValue] = {"repo": repository.name, "commit": repository.commit}
    if repository.commit == WORKTREE:
        digest = hashlib.sha256()
        for file in snapshot.files():
            if isinstance(file, SourceFile):
                digest.update(f"{file.path}\0{file.sha256}\n".encode("utf-8", "replace"))
        identity["sha256"] = digest.hexdigest()
    return identity


def write_pairs_dataset(
    folder: Path,
    records: Sequence[Mapping[str, Any]],
    *,
    name: str,
    hash: str,
    kind: Literal["pairs", "raft"],
    sources: list[DatasetSource],
    settings: dict[str, JsonValue],
) -> DatasetManifest:
    """Write records as a dataset and note its version; what stands there is replaced whole.

    :param records: each with `split` and `evidence`, in the order in which they are written.
    :raises StorageError: the disk is full or not writable, or `folder` holds something else.
    """
    counts: dict[str, SplitCounts] = {}
    with new_dataset(folder) as draft:
        for split in SPLITS:
            chosen = [record for record in records if record["split"] == split]
            lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in chosen]
            data = "".join(lines).encode("utf-8")
            with storage_errors(folder):
                (draft / f"{split}.jsonl").write_bytes(data)
            files = {(e["repo"], e["path"]) for record in chosen for e in record["evidence"]}
            counts[split] = SplitCounts(documents=len(files), samples=len(chosen), bytes=len(data))
        manifest = make_manifest(
            draft,
            name=name,
            hash=hash,
            kind=kind,
            sources=sources,
            settings=settings,
            splits=counts,
        )
        write_manifest(draft, manifest)
    register(folder, manifest)
    return manifest
