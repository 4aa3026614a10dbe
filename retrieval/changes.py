"""What has changed since an index was made: told by commits, stamps of folders, and content."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_tools.sources import WORKTREE, Snapshot
from retrieval.embedder import Embedder
from retrieval.generations import Manifest
from retrieval.stamps import FOLDERS, folder_stamp, read_stamps, write_stamps


def is_up_to_date(
    old: Manifest,
    snapshots: Sequence[Snapshot],
    embedder: Embedder,
    folder: Path,
    stamps: Mapping[str, str],
) -> bool:
    """Tell from commits and from the stamps of plain folders alone that nothing has changed."""
    records = {record.name: record for record in old.repositories}
    kept_stamps = read_stamps(folder / FOLDERS)
    return (
        old.vectors == old.chunks
        and old.embedder.fingerprint == embedder.fingerprint
        and all(
            (record := records.get(snapshot.repository.name)) is not None
            and record.repository == snapshot.repository
            and (
                record.commit != WORKTREE
                or kept_stamps.get(record.name)
                == [record.content_sha256, stamps.get(record.name, "")]
            )
            for snapshot in snapshots
        )
    )


def same_content(old: Manifest, new: Manifest) -> bool:
    """Tell whether what was read is what the index holds, with all its vectors."""
    return (
        old.vectors == old.chunks
        and old.embedder == new.embedder
        and old.repositories == new.repositories
    )


def stamp_folders(snapshots: Sequence[Snapshot], folder: Path) -> dict[str, str]:
    """Stamp the plain folders among the snapshots, those that have settled."""
    places = {s.repository.name: s.repository for s in snapshots}
    stamps = {
        name: folder_stamp(Path(repository.location), leave_out=folder)
        for name, repository in places.items()
        if repository.commit == WORKTREE
    }
    return {name: stamp for name, stamp in stamps.items() if stamp is not None}


def keep_stamps(folder: Path, manifest: Manifest, stamps: Mapping[str, str]) -> None:
    """Write down what the plain folders looked like when they held what is indexed."""
    before = read_stamps(folder / FOLDERS)
    records = [record for record in manifest.repositories if record.commit == WORKTREE]
    fresh: dict[str, object] = {
        record.name: [record.content_sha256, stamps[record.name]]
        if record.name in stamps
        else before.get(record.name)
        for record in records
    }
    if fresh != before:
        write_stamps(folder / FOLDERS, fresh)
