"""Which repositories an index is made of: those asked for, those it holds, less those removed."""

from collections.abc import Sequence
from pathlib import Path

from data_tools.errors import SourceError
from data_tools.progress import Progress, ReportProgress
from data_tools.sources import (
    SITE,
    Snapshot,
    is_remote,
    is_site,
    open_source,
    plain_location,
    resolve_spec,
    split_spec,
    unique_name,
)
from retrieval.generations import RepositoryRecord


def open_all(
    specs: Sequence[str], known: Sequence[RepositoryRecord], report: ReportProgress
) -> list[Snapshot]:
    """Open every repository under a name of its own: the one it had before, if any."""
    specs = [_resolve(spec, known) for spec in specs]
    names = {_identity(record.location): record.name for record in known}
    refs: dict[str, str | None] = {}
    for spec in specs:
        location, ref = split_spec(spec)
        identity = _identity(location)
        if refs.setdefault(identity, ref) != ref:
            raise SourceError(
                f"{plain_location(location)} is given twice, at {refs[identity] or 'HEAD'} and "
                f"{ref or 'HEAD'}; one index holds it once, so make two"
            )
        names.setdefault(identity, unique_name(location, set(names.values())))
    unique = {_identity(split_spec(spec)[0]): spec for spec in specs}
    return [_open(spec, names[identity], report) for identity, spec in unique.items()]


def _resolve(spec: str, known: Sequence[RepositoryRecord]) -> str:
    """Settle what a URL is: what it was before, if the index holds it, without asking again."""
    location, _ = split_spec(spec)
    for record in known:
        if _identity(record.location) == _identity(location) and not is_site(location):
            if is_site(record.location):
                return record.location
            return f"git+{spec.strip()}" if spec.strip().startswith("http") else spec
    return resolve_spec(spec)


def _open(spec: str, name: str, report: ReportProgress) -> Snapshot:
    report(Progress("clone", message=f"opening {name}"))
    snapshot = open_source(
        spec, name=name, report=lambda line: report(Progress("clone", message=line))
    )
    if snapshot.notice:
        report(Progress("notice", message=snapshot.notice))
    return snapshot


def without(
    known: tuple[RepositoryRecord, ...], remove: Sequence[str], folder: Path, *, empty: bool
) -> tuple[RepositoryRecord, ...]:
    """Leave out the repositories to remove.

    :param empty: nothing else is indexed, so that one of them must stay.
    """
    names = [record.name for record in known]
    for name in remove:
        if name not in names:
            raise SourceError(
                f"the index in {folder} holds no repository {name!r}; "
                f"choose from: {', '.join(names) or 'none'}"
            )
    kept = tuple(record for record in known if record.name not in remove)
    if remove and empty and not kept:
        raise SourceError(f"nothing would be left in the index; delete {folder} instead")
    return kept


def specs_not_named(specs: Sequence[str], known: Sequence[RepositoryRecord]) -> list[str]:
    """List the repositories of a damaged index that must be read again beside `specs`."""
    named = {_identity(split_spec(spec)[0]) for spec in specs}
    return [record.spec for record in known if _identity(record.location) not in named]


def _identity(location: str) -> str:
    """Return what two ways to write one repository, or one site, have in common."""
    plain = plain_location(location).removeprefix(SITE).rstrip("/")
    on_disk = not is_remote(location) or plain.startswith("file:")
    return plain if on_disk else plain.removesuffix(".git")
