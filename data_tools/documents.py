"""Documents of a corpus: whole texts, referred to by where they lie and read when needed.

A `Document` is a reference, small enough to hold millions and plain enough to be sent to another
process; `read_document` gives its text, indentation and line endings as they are. Flattened
repositories keep their original paths; what is not UTF-8 text is refused, by name.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from data_tools.dataset import DatasetSource
from data_tools.errors import DatasetError
from data_tools.flatten import MANIFEST as FLATTEN_MANIFEST
from data_tools.flatten import SUFFIX
from data_tools.progress import Progress, ReportProgress
from data_tools.secrets import redact
from data_tools.sources import WORKTREE, safe_relative_path

REPORT_EVERY = 200  # documents


@dataclass(frozen=True)
class Document:
    """Where the text of one document lies.

    :param repo: name of the corpus it belongs to; with `path`, unique.
    :param path: within the repository, or a place in the file it comes from.
    :param form: how `location` is read.
    :param location: absolute path of a file, or folder or URL of MDS shards.
    :param start: byte offset of a row, number of a conversation or sample; 0 for a whole file.
    :param skip: of the sample at `start`, tokens that belong to what is before.
    :param size: bytes of a row, or tokens; 0 for all there is.
    :param tokenizer: name of the tokenizer whose tokens they are.
    :param split: the split it is in already, which it keeps; None if it is to be dealt.
    :param group: of near-duplicates that it is in already.
    :param bytes: of its text as UTF-8.
    :param sha256: of the same.
    """

    repo: str
    path: str
    form: Literal["txt", "jsonl", "coqa", "mds"]
    location: str
    start: int = 0
    skip: int = 0
    size: int = 0
    tokenizer: str | None = None
    split: str | None = None
    group: str | None = None
    bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Corpus:
    """Documents in a fixed order, and where they come from."""

    documents: tuple[Document, ...]
    sources: tuple[DatasetSource, ...]

    @property
    def bytes(self) -> int:
        """How much text there is, as UTF-8."""
        return sum(document.bytes for document in self.documents)


@dataclass(frozen=True)
class TextDocument:
    """A document with its text at hand."""

    repo: str
    path: str
    text: str


def read_document(document: Document) -> str:
    """Read the text of a document, without the secrets in it.

    :raises DatasetError: it is not there any more, or is not text.
    """
    return redact(_read(document), document.path).text


def _read(document: Document) -> str:
    if document.form == "txt":
        return _read_file(Path(document.location))
    if document.form in ("jsonl", "coqa"):
        from data_tools.rows import read_row

        return read_row(document)
    from data_tools.mds_documents import read_samples

    return read_samples(document)


def open_corpus(
    form: Literal["txt", "jsonl", "mds"],
    places: Sequence[str],
    *,
    source_tokenizer: str | None = None,
    report: ReportProgress | None = None,
) -> Corpus:
    """List the documents of a corpus, reading each once for its hash; empty ones are left out.

    :param places: folders and files; for `mds` URLs of object stores too.
    :param source_tokenizer: whose tokens an MDS dataset holds, if it does not say so.
    :raises DatasetError: a place is missing, of another form, or they hold no text together.
    """
    listed: list[tuple[DatasetSource, Iterator[Document]]] = []
    for place in dict.fromkeys(places):
        if form == "txt":
            listed += _list_texts(Path(place).absolute())
        elif form == "jsonl":
            from data_tools.rows import list_rows

            listed.append(list_rows(Path(place).absolute()))
        else:
            from data_tools.mds_documents import list_samples

            listed.append(list_samples(place, source_tokenizer))
    return _measure(listed, report)


def _measure(
    listed: list[tuple[DatasetSource, Iterator[Document]]], report: ReportProgress | None
) -> Corpus:
    documents: list[Document] = []
    sources: list[DatasetSource] = []
    seen: set[tuple[str, str]] = set()
    for source, found in listed:
        before = len(documents)
        for document in found:
            if (document.repo, document.path) in seen:
                raise DatasetError(
                    f"two documents are called {document.path} of {document.repo}; "
                    "give each source once, under a name of its own"
                )
            seen.add((document.repo, document.path))
            data = read_document(document).encode("utf-8")
            if data:
                digest = hashlib.sha256(data).hexdigest()
                document = replace(document, bytes=len(data), sha256=digest)
                if len(listed) > 1:  # what one of them holds out, another may train on
                    document = replace(document, split=None, group=None)
                documents.append(document)
            if report and len(seen) % REPORT_EVERY == 0:
                report(Progress("read", len(seen)))
        sources.append(source.model_copy(update={"files": len(documents) - before}))
    if not documents:
        raise DatasetError(
            f"there is no text in {', '.join(source.location for source in sources)}; "
            "flatten a repository first, with `codeqa flatten REPO --out CORPUS`"
        )
    return Corpus(tuple(documents), tuple(sources))


def _read_file(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise DatasetError(
            f"cannot read {file} ({error.strerror}); flatten the repository again"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 text; save it as that, or take it out") from error


def _list_texts(place: Path) -> Iterator[tuple[DatasetSource, Iterator[Document]]]:
    """List flattened repositories in or at a folder, else its text files."""
    if not place.exists():
        raise DatasetError(f"there is no {place}; check its name")
    if place.is_file():
        document = Document(place.stem, place.name, "txt", str(place))
        yield DatasetSource(repo=place.stem, location=str(place), files=0), iter([document])
        return
    manifests = sorted(place.glob(f"*/{FLATTEN_MANIFEST}"))
    if (place / FLATTEN_MANIFEST).is_file():
        manifests = [place / FLATTEN_MANIFEST]
    for manifest in manifests:
        documents, commit = _read_flattened(manifest)
        folder = manifest.parent
        repo = documents[0].repo if documents else folder.name
        source = DatasetSource(repo=repo, location=str(folder), commit=commit, files=0)
        yield source, iter(documents)
    if not manifests:
        yield DatasetSource(repo=place.name, location=str(place), files=0), _plain(place)


def _plain(folder: Path) -> Iterator[Document]:
    for file in sorted(folder.rglob(f"*{SUFFIX}")):
        if file.is_file() and not file.is_symlink():
            path = file.relative_to(folder).as_posix()
            yield Document(folder.name, path, "txt", str(file))


def _read_flattened(manifest: Path) -> tuple[list[Document], str | None]:
    """Read which files a flattened repository holds, in the order of its manifest."""
    documents, commits = [], set()
    with manifest.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                if "reason" in record:
                    continue
                repo, path, commit = record["repo"], record["path"], record["commit"]
                if not safe_relative_path(path):
                    raise ValueError("the path leads out of the folder")
                file = manifest.parent / (path + SUFFIX)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DatasetError(
                    f"{manifest}:{number}: not a line of a flattened repository's manifest; "
                    "run `codeqa flatten` again"
                ) from error
            documents.append(Document(repo, path, "txt", str(file)))
            commits.add(commit)
    commit = commits.pop() if len(commits) == 1 else None
    return documents, commit or (WORKTREE if documents else None)
