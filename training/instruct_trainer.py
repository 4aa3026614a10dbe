"""TRL's `SFTTrainer` as instruction tuning uses it.

Adds to it what every run has (`training.trainer`), an evaluation that is exact whatever the
batches, and adapters written with all that serving needs. Its reports to TRL's makers are off.
"""

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from trl.trainer.sft_trainer import SFTTrainer

from training.batches import Rows, SharedBatches
from training.completions import IGNORED, Example
from training.config import TrainConfig
from training.packing import FLASH, as_one_row, make_collator
from training.trainer import RunTrainer

if TYPE_CHECKING:
    import datasets

GENERATION_CONFIG = "generation_config.json"


class InstructTrainer(RunTrainer, SFTTrainer):
    """Learns answers, and measures them on pairs that are set aside."""

    def read_from(
        self,
        dataset: "datasets.Dataset",
        validation: Sequence[Example],
        config: TrainConfig,
        pad_token_id: int,
    ) -> None:
        """Give the trainer its data; before `train`.

        :param dataset: of `training.packing.make_dataset`.
        :param validation: what is measured; no more of them than configured are, evenly spread.
        """
        self._dataset = dataset
        count = min(len(validation), config.evaluation.batches * config.batch.size)
        self._validation = [validation[at * len(validation) // count] for at in range(count)]
        self._pad_rows = make_collator(pad_token_id, packed=False)
        self._batch_size = config.batch.size
        self._takes_one_row = FLASH in config.model.attention

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Open the loader; accelerate's own fills the last batch of an epoch with repeated rows."""
        batches = SharedBatches(
            len(self._dataset),
            self._batch_size,
            seed=self.args.seed,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            steps_taken=lambda: self.state.global_step,
        )
        return DataLoader(
            Rows(self._dataset),
            batch_sampler=batches,
            collate_fn=self.data_collator,
            # Its own: opened in the middle of an epoch, it must not draw from dropout's numbers.
            generator=torch.Generator().manual_seed(self.args.seed),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def compute_loss(
        self,
        model: Any,  # noqa: ANN401 - as TRL has it
        inputs: Any,  # noqa: ANN401
        return_outputs: Any = False,  # noqa: ANN401
        num_items_in_batch: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Compute the loss; packed rows are put into one for the kernels that need it so."""
        if self._takes_one_row and "position_ids" in inputs:
            inputs = as_one_row(inputs)
        return super().compute_loss(  # type: ignore[no-untyped-call]
            model, inputs, return_outputs, num_items_in_batch
        )

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the pairs that are set aside: nats an answer's token, and how many are right.

        Both are means over all tokens that would be learnt, whatever the batches. A token is right
        if it is the likeliest one after those before it.
        """
        model = self.model_wrapped if self.is_fsdp_enabled else self.model
        assert isinstance(model, torch.nn.Module)
        was_training = model.training
        model.eval()
        totals = torch.zeros(3, dtype=torch.float64, device=self.args.device)
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = self.parts.microbatch * processes
        for start in range(0, len(self._validation), size):
            batch = self._validation[start : start + size]
            # Sharded weights need every process: one with nothing left measures what is ignored.
            own = batch[rank::processes] or [_ignored(batch[0])]
            totals += self._measure(model, own)
        if processes > 1:
            torch.distributed.all_reduce(totals)
        nats, right, tokens = totals.tolist()
        metrics = {}
        if tokens:
            metrics = {"eval_loss": nats / tokens, "eval_token_accuracy": right / tokens}
            self.log(dict(metrics))
        model.train(was_training)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _measure(self, model: torch.nn.Module, examples: Sequence[Example]) -> torch.Tensor:
        """Sum the nats of answers' tokens, count those that are right, and all; shape (3,)."""
        rows = [
            {"input_ids": each.input_ids.tolist(), "labels": each.labels.tolist()}
            for each in examples
        ]
        inputs = {name: each.to(self.args.device) for name, each in self._pad_rows(rows).items()}
        with self.compute_loss_context_manager():
            outputs = model(**inputs, fused_lm_head=True)
        sums = (-outputs.log_probs.sum(), outputs.is_top1.sum(), outputs.label_mask.sum())
        return torch.stack([each.double() for each in sums])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log without TRL's count of tokens, which takes packed rows for one."""
        self._metrics["train"].pop("num_tokens", None)
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ANN401
        """Write an adapter with its tokenizer and where generation ends; a model as ever."""
        from peft import PeftModel

        model = self.accelerator.unwrap_model(self.model)
        if not isinstance(model, PeftModel):
            super()._save(output_dir, state_dict=state_dict)
            return
        folder = Path(output_dir or str(self.args.output_dir))
        # Embeddings are not trained; asked whether they were, peft would call the hub.
        model.save_pretrained(str(folder), state_dict=state_dict, save_embedding_layers=False)
        self._tokenizer.save_pretrained(folder)
        model.generation_config.to_json_file(folder / GENERATION_CONFIG)

    def _send_telemetry(self) -> None:
        """Tell nobody; TRL would report each run to its makers."""


def _ignored(example: Example) -> Example:
    return Example(example.input_ids, array("i", [IGNORED] * len(example.input_ids)))
