"""Tuning the embedding model on repositories, so that an index of them finds more.

Mine questions → blank what they were mined from → examples with hard negatives → train → mix the
weights with the base model's → measure both on files that were kept apart → write the model, if it
is the better one. Everything on the way is in `<out>.partial`: the same command goes on there after
a kill. A model folder is written whole or not at all, and never over something else.
"""

import contextlib
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from data_tools.drafts import replace_folder, whole_file
from data_tools.errors import EmbedderError, StorageError, WorseModelError
from data_tools.progress import Progress, ReportProgress
from data_tools.sources import WORKTREE, Snapshot, SourceFile
from data_tools.storage import storage_errors
from retrieval.embed import Embedder, SentenceTransformerEmbedder, open_embedder
from retrieval.index import CodeIndex
from training.retriever_card import TuningReport, TuningSettings, own_commit, write_card
from training.retriever_corpus import mask_repositories, open_sources
from training.retriever_data import TuningData, make_data
from training.retriever_fit import fit, open_model
from training.retriever_mix import Mixture, choose_mixture, make_pool
from training.retriever_pace import read_plan
from training.retriever_report import ALL, NDCG, Row, compare_models, is_better, measure

LOCK = "LOCK"
STATE = "state.json"  # what was asked for
DATA = "data.json"
MIXTURE = "mixture.json"
CORPUS = "corpus"  # the masked repositories
BASE_INDEX = "index-base"
TUNED_INDEX = "index-tuned"
TRAINED = "trained"
MIXED = "mixed"


def tune_retriever(
    specs: Sequence[str],
    out: Path,
    settings: TuningSettings | None = None,
    *,
    force: bool = False,
    report: ReportProgress | None = None,
) -> TuningReport:
    """Tune an embedding model on repositories, measure it, and write it to `out`.

    :param specs: `REPO[@REF]` each.
    :param out: a folder that does not exist yet, or is empty.
    :param force: write the model even if it is worse than the base.
    :raises SourceError: a repository cannot be read, or too little can be mined.
    :raises EmbedderError: the base model cannot be loaded.
    :raises StorageError: `out` holds something, is full or not writable, or is being written to.
    :raises WorseModelError: the tuned model is worse, and `force` is not given.
    """
    settings, report = settings or TuningSettings(), report or (lambda _: None)
    out = out.absolute()  # `.` has no name to put `.partial` to
    _check_out(out)
    base = open_embedder(settings.embedder)
    if not isinstance(base, SentenceTransformerEmbedder):
        raise EmbedderError(f"{base.name} has no weights to tune; give a folder or a hub name")
    work = out.with_name(out.name + ".partial")
    with _locked(work):
        snapshots = open_sources(specs, report)
        _begin(work, settings, snapshots, base, report)
        data = _make_data(work, snapshots, base, settings, report)
        steps = _train(work, base, data, settings, report)
        mixture = _mix(work, base, data, settings, report)
        rows = _measure(work, base, data, report)
        result = TuningReport(
            folder=str(out),
            settings=settings,
            repositories=tuple(snapshot.repository for snapshot in snapshots),
            codeqa_commit=own_commit(),
            mined=data.mined,
            filtered=data.filtered,
            examples=dict(sorted(Counter(each.kind for each in data.examples).items())),
            steps=steps,
            alpha=mixture.alpha,
            validation=mixture.scores,
            rows=tuple(rows),
            better=is_better(rows),
        )
        if not (result.better or force):
            raise WorseModelError(_explain_refusal(rows, out, work))
        _publish(work, out, result)
    return result


def _check_out(out: Path) -> None:
    with storage_errors(out):
        if out.is_symlink() or (out.exists() and not out.is_dir()) or _holds_something(out):
            raise StorageError(f"{out} is not an empty folder; choose another --out")


def _holds_something(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


@contextlib.contextmanager
def _locked(work: Path) -> Iterator[None]:
    with storage_errors(work):
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise StorageError(
                f"another `codeqa tune-retriever` is writing to {work}; wait for it to finish"
            ) from error
    try:
        yield
    finally:
        lock.release()


def _begin(
    work: Path,
    settings: TuningSettings,
    snapshots: Sequence[Snapshot],
    base: Embedder,
    report: ReportProgress,
) -> None:
    """Keep the work of a run that was asked for the same; remove that of another."""
    state = json.dumps(
        {
            "settings": asdict(settings),
            "base": base.fingerprint,
            "repositories": [
                [asdict(snapshot.repository), _hash_content(snapshot)] for snapshot in snapshots
            ],
        },
        indent=1,
    )
    file = work / STATE
    with storage_errors(work):
        if not file.exists() or file.read_text("utf-8") != state:
            if file.exists():
                report(Progress("notice", message=f"starting afresh: {work} is of another run"))
            for left in work.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
                elif left.name != LOCK:
                    left.unlink()
            with whole_file(file) as draft:
                draft.write_text(state, "utf-8")


def _hash_content(snapshot: Snapshot) -> str:
    """Hash a plain folder's files: it has no commit that says whether they changed."""
    if snapshot.repository.commit != WORKTREE:
        return snapshot.repository.commit
    digest = hashlib.sha256()
    for file in snapshot.files():
        if isinstance(file, SourceFile):
            digest.update(f"{file.path}\0{file.sha256}\n".encode("utf-8", errors="surrogatepass"))
    return digest.hexdigest()


def _make_data(
    work: Path,
    snapshots: Sequence[Snapshot],
    base: Embedder,
    settings: TuningSettings,
    report: ReportProgress,
) -> TuningData:
    file, adapter = work / DATA, TypeAdapter(TuningData)
    if file.exists():
        return adapter.validate_json(file.read_bytes())
    masked = mask_repositories(snapshots, work / CORPUS, report)
    with _build_index(work, BASE_INDEX, base, report) as index:
        pairs = [pair for repository in masked for pair in repository.pairs]
        data = make_data(
            pairs,
            lambda repo, query, k: index.search(query, k, repos=[repo], mode="dense"),
            settings.data,
            report,
        )
    with whole_file(file) as draft:
        draft.write_bytes(adapter.dump_json(data))
    return data


def _build_index(work: Path, name: str, embedder: Embedder, report: ReportProgress) -> CodeIndex:
    """Index the masked repositories; those that are indexed already cost nothing."""
    folders = sorted(str(folder) for folder in (work / CORPUS).iterdir())
    return CodeIndex.build(
        folders,
        work / name,
        embedder=embedder,
        report=lambda progress: report(progress) if progress.stage in ("read", "embed") else None,
    )


def _train(
    work: Path,
    base: SentenceTransformerEmbedder,
    data: TuningData,
    settings: TuningSettings,
    report: ReportProgress,
) -> int:
    """Train, unless that was done; return the number of steps."""
    trained = work / TRAINED
    if not trained.exists():
        model = open_model(base.folder, base.max_tokens)
        fit(model, data.examples, work, settings.fit, report)
        with storage_errors(work):
            draft = work / f"{TRAINED}.new"
            shutil.rmtree(draft, ignore_errors=True)
            model.save(str(draft), create_model_card=False)
            replace_folder(trained, draft, work / f"{TRAINED}.old")
    return read_plan(work).steps


def _mix(
    work: Path,
    base: SentenceTransformerEmbedder,
    data: TuningData,
    settings: TuningSettings,
    report: ReportProgress,
) -> Mixture:
    """Choose the mixture of tuned and base weights, unless that was done."""
    file, adapter = work / MIXTURE, TypeAdapter(Mixture)
    if file.exists():
        return adapter.validate_json(file.read_bytes())
    with CodeIndex.open(work / BASE_INDEX, embedder=base) as index:
        pools = [make_pool(asked, index.chunks(repo)) for repo, asked in data.validation.items()]
    mixture = choose_mixture(base, work / TRAINED, pools, settings.alphas, work / MIXED, report)
    with whole_file(file) as draft:
        draft.write_bytes(adapter.dump_json(mixture))
    return mixture


def _measure(work: Path, base: Embedder, data: TuningData, report: ReportProgress) -> list[Row]:
    """Measure both models on the held-out questions."""
    measured = []
    for name, embedder in ((BASE_INDEX, base), (TUNED_INDEX, open_embedder(str(work / MIXED)))):
        with _build_index(work, name, embedder, report) as index:
            measured.append(measure(index, data.held_out, report))
    return compare_models(*measured)


def _explain_refusal(rows: Sequence[Row], out: Path, work: Path) -> str:
    figures = "; ".join(
        f"{row.mode} nDCG@10 {row.tuned:.3f} against {row.base:.3f} "
        f"({row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}])"
        for row in rows
        if row.repo == ALL and row.metric == NDCG
    )
    return (
        f"the tuned model is not better than the base: {figures}; nothing was written to {out}: "
        f"add repositories, or have it all the same with --force (its work is kept in {work})"
    )


def _publish(work: Path, out: Path, result: TuningReport) -> None:
    """Move the model to its place in one step, and clear the work away."""
    model = work / "model"
    with storage_errors(out):
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(work / MIXED, model)
        write_card(model, result)
        if out.exists():
            out.rmdir()
        replace_folder(out, model, work / "old")
    shutil.rmtree(work, ignore_errors=True)
