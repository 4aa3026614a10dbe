"""Fine-tuning an embedding model on examples, so that it can be killed and go on.

In-batch contrast with hard negatives (InfoNCE), nested in Matryoshka dimensions so that a shortened
vector stays useful. The number of steps is settled once, from the speed of the first ones, and kept
with the checkpoints: a run that was killed ends with the weights of one that was not. A checkpoint
counts only when it is whole.
"""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.drafts import synchronise, whole_file
from data_tools.errors import EmbedderError, reason_of
from data_tools.progress import Progress, ReportProgress
from data_tools.storage import storage_errors
from retrieval.embed import MAX_CHARS_PER_TOKEN, has_bfloat16
from retrieval.model_files import SAFE_LOADING
from training.checkpoints import damage_errors
from training.retriever_data import Example
from training.retriever_pace import FitSettings, Plan, settle_plan

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from torch import nn
    from transformers import (
        TrainerCallback,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

CHECKPOINTS = "checkpoints"
WHOLE = "WHOLE"  # written into a checkpoint after everything else of it
MINI_BATCH = {"cpu": 32, "cuda": 256}  # sequences embedded at once


def open_model(folder: Path, max_tokens: int) -> "SentenceTransformer":
    """Load a model to train or to mix: float32, safetensors only, none of its own code run.

    :param max_tokens: longer texts are cut; the model keeps this window when it is saved.
    :raises EmbedderError: it cannot be loaded so.
    """
    from sentence_transformers import SentenceTransformer
    from torch import nn
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    device = _device()
    # PyTorch's fused attention has a backward pass that takes half of a step's time on a CPU.
    attention = "eager" if device == "cpu" else "sdpa"
    try:
        model = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": "float32", "attn_implementation": attention, **SAFE_LOADING},
        )
    except Exception as error:  # the boundary: three libraries read the folder, each in its way
        raise EmbedderError(
            f"cannot load the embedding model {folder}: {reason_of(error).rstrip('.')}; give "
            "another --embedder"
        ) from error
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # drawing its masks takes a fifth of a step, and epochs are few
    model.max_seq_length = max_tokens
    model.model_card_data.widget = [{"text": "code"}]  # else the library shows some of the examples
    return model


def fit(
    model: "SentenceTransformer",
    examples: Sequence[Example],
    work: Path,
    settings: FitSettings,
    report: ReportProgress,
) -> None:
    """Train `model` in place; goes on from the checkpoints in `work` if there are any.

    :raises StorageError: `work` is full or not writable.
    :raises TrainingError: its newest checkpoint is damaged.
    """
    from transformers import PrinterCallback, TrainerState, set_seed

    set_seed(settings.seed)  # before the trainer draws anything
    loss = _make_loss(model, settings)
    dataset = _make_dataset(examples, max_chars=(model.max_seq_length or 512) * MAX_CHARS_PER_TOKEN)
    with storage_errors(work):
        plan = settle_plan(model, loss, dataset, work, settings, report)
        checkpoint = _last_checkpoint(work / CHECKPOINTS)
        if checkpoint:
            with damage_errors(checkpoint):
                TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        trainer = _make_trainer(model, loss, dataset, work, settings, plan)
        trainer.remove_callback(PrinterCallback)  # it prints to stdout
        trainer.add_callback(_make_callback(plan, report))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _make_dataset(examples: Sequence[Example], max_chars: int) -> "Dataset":
    """Make columns; texts are cut as an index cuts them before the tokenizer sees them."""
    from datasets import Dataset

    columns = {
        "anchor": [each.query for each in examples],
        "positive": [each.positive[:max_chars] for each in examples],
    }
    for number in range(len(examples[0].negatives)):
        columns[f"negative_{number + 1}"] = [
            each.negatives[number][:max_chars] for each in examples
        ]
    return Dataset.from_dict(columns)


def _make_loss(model: "SentenceTransformer", settings: FitSettings) -> "nn.Module":
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MatryoshkaLoss,
    )

    own = model.get_embedding_dimension()
    if own is None:
        raise ValueError("the model does not say how long its vectors are")
    contrast = CachedMultipleNegativesRankingLoss(
        model,
        scale=1 / settings.temperature,
        mini_batch_size=MINI_BATCH.get(model.device.type, 32),
    )
    shorter = [dimension for dimension in settings.dimensions if dimension < own]
    return MatryoshkaLoss(model, contrast, [own, *shorter])


def _make_trainer(
    model: "SentenceTransformer",
    loss: "nn.Module",
    dataset: "Dataset",
    work: Path,
    settings: FitSettings,
    plan: Plan,
) -> "SentenceTransformerTrainer":
    from sentence_transformers import SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.training_args import (
        BatchSamplers,
        SentenceTransformerTrainingArguments,
    )

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(work / CHECKPOINTS),
        max_steps=plan.steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=math.ceil(plan.steps * settings.warmup),
        lr_scheduler_type="cosine",
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=has_bfloat16(model.device.type),
        use_cpu=model.device.type == "cpu",
        seed=settings.seed,
        data_seed=settings.seed,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        save_strategy="steps",
        save_steps=plan.save_every,
        save_total_limit=2,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=model.device.type == "cuda",
    )

    class _Trainer(SentenceTransformerTrainer):
        """Says which checkpoint it cannot read, and takes no step beyond the last."""

        def _run_epoch(self, *args: Any, **how: Any) -> None:  # noqa: ANN401
            if self.state.global_step < self.state.max_steps:
                super()._run_epoch(*args, **how)  # type: ignore[no-untyped-call]
            else:
                self.control.should_training_stop = True

        def _load_from_checkpoint(self, checkpoint_path: str, *_: object) -> None:
            with damage_errors(Path(checkpoint_path)):
                super()._load_from_checkpoint(checkpoint_path)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            with damage_errors(Path(checkpoint or "")):
                super()._load_optimizer_and_scheduler(checkpoint)

        def _load_rng_state(self, checkpoint: str | None) -> None:
            with damage_errors(Path(checkpoint or "")):
                super()._load_rng_state(checkpoint)

    return _Trainer(model=model, args=arguments, train_dataset=dataset, loss=loss)


def _make_callback(plan: Plan, report: ReportProgress) -> "TrainerCallback":
    from transformers import TrainerCallback

    class _Watch(TrainerCallback):
        """Reports steps, and marks the checkpoints that are whole."""

        def on_step_end(
            self,
            args: "TrainingArguments",
            state: "TrainerState",
            control: "TrainerControl",
            **_: object,
        ) -> None:
            report(Progress("train", state.global_step, plan.steps))

        def on_save(
            self,
            args: "TrainingArguments",
            state: "TrainerState",
            control: "TrainerControl",
            **_: object,
        ) -> None:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            synchronise(folder)
            with whole_file(folder / WHOLE) as mark:
                mark.touch()

    return _Watch()


def _last_checkpoint(folder: Path) -> Path | None:
    """Find the newest whole checkpoint; remove what a killed run left half-written."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if (path / WHOLE).exists():
            whole.append(path)
        else:
            shutil.rmtree(path)
    return max(whole, key=lambda path: int(path.name.partition("-")[2]), default=None)
