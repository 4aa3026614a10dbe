"""Instruction tuning on pairs, RAFT included: loss on the answers alone, in the chat's own format.

TRL's `SFTTrainer` does the steps; what it is given is tokenised and labelled here
(`training.completions`), packed where no pair then sees another (`training.packing`), and adapted
by LoRA or QLoRA if so configured (`training.lora`). Pairs that are too long are left out and
counted, never cut.
"""

from typing import TYPE_CHECKING, Any

from trl.trainer.sft_config import SFTConfig

from data_tools.errors import TrainingError
from data_tools.progress import Progress
from retrieval.prompt import Message
from training.arguments import plan_run
from training.completions import Examples, end_tokens, ensure_template, make_examples, render
from training.config import TrainConfig
from training.conversations import read_pairs
from training.instruct_trainer import InstructTrainer
from training.lora import keep_adapter_precise, load_with_adapter
from training.model import load_model
from training.packing import FLASH, make_collator, make_dataset, sees_neighbours
from training.run import Run
from training.templates import columns_in, find_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prepare(run: Run) -> InstructTrainer:
    """Make the trainer of an instruction-tuning run, ready to train.

    :raises DatasetError: a source of pairs is missing, damaged or empty.
    :raises ConfigError: the template is none.
    :raises ModelError: the model cannot be loaded or adapted, or its chat template cannot teach.
    :raises TrainingError: all pairs are too long.
    """
    config, tokenizer = run.config, run.tokenizer
    pairs = read_pairs(config.data, config.seed)
    if ensure_template(tokenizer):
        _notice(run, "the tokenizer has no chat template; a plain one is used, and saved with it")
    model = _load(config, tokenizer)
    longest = _longest(config, model)
    train = make_examples(pairs.train, tokenizer, longest)
    validation = make_examples(pairs.validation, tokenizer, longest)
    if not train.kept:
        raise TrainingError(
            f"every pair is longer than {longest} tokens, the shortest has {train.shortest}; raise "
            "`data.max_tokens`, or choose a model with a longer context"
        )
    packed = config.data.packing and _can_pack(run, model)
    dataset = make_dataset(train.kept, pack_tokens=longest if packed else None)
    _announce(run, train, validation, len(dataset), packed=packed)
    run.begin(
        pairs.versions,
        pairs=len(train.kept),
        validation_pairs=len(validation.kept),
        sequences=len(dataset),
        tokens=train.tokens,
        left_out={
            "empty": pairs.left_out,
            "too_long": train.too_long + validation.too_long,
            "special_tokens": train.unsayable + validation.unsayable,
        },
        packed=packed,
    )
    _end_generation(model, end_tokens(train.kept))
    plan = plan_run(config, samples=len(dataset))
    arguments = SFTConfig(
        **run.arguments(plan, model),
        max_length=None,
        ignore_data_skip=True,  # the batches know where the run is
        dataset_kwargs={"skip_prepare_dataset": True},  # it is tokenised and labelled already
    )
    pad_token_id = tokenizer.pad_token_id
    pad_token_id = tokenizer.eos_token_id if pad_token_id is None else pad_token_id
    trainer = InstructTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,  # these two are only looked at to be there
        eval_dataset=dataset,
        data_collator=make_collator(pad_token_id, packed=packed),
        processing_class=tokenizer,
    )
    if config.model.method != "full":
        keep_adapter_precise(model)
    trainer.read_from(dataset, validation.kept, config, pad_token_id)
    sequence_tokens = max(len(row) for row in dataset["input_ids"])
    run.equip(
        trainer, plan, sequence_tokens=sequence_tokens, render=_render_sample(config, tokenizer)
    )
    return trainer


def _load(config: TrainConfig, tokenizer: "PreTrainedTokenizerBase") -> Any:  # noqa: ANN401
    if config.model.method == "full":
        return load_model(config, tokenizer)
    return load_with_adapter(config, tokenizer)


def _longest(config: TrainConfig, model: Any) -> int:  # noqa: ANN401
    """How many tokens a pair may have: as configured, and no more than the model reads."""
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(config.data.max_tokens, context or config.data.max_tokens)


def _can_pack(run: Run, model: Any) -> bool:  # noqa: ANN401
    """Say whether pairs can share a row; flash kernels are told where each one ends."""
    if FLASH in run.config.model.attention or not sees_neighbours(model):
        return True
    _notice(
        run,
        "pairs are not packed: with this model and `model.attention`, they would see each other",
    )
    return False


def _announce(
    run: Run, train: Examples, validation: Examples, sequences: int, *, packed: bool
) -> None:
    parts = [f"{len(train.kept):,} pairs of {train.tokens:,} tokens"]
    if packed:
        parts.append(f"packed into {sequences:,} sequences")
    parts.append(f"{len(validation.kept):,} set aside to measure")
    if left_out := train.too_long + validation.too_long:
        parts.append(f"{left_out:,} left out as too long (`data.max_tokens`)")
    if left_out := train.unsayable + validation.unsayable:
        parts.append(f"{left_out:,} left out for special tokens in their answers")
    _notice(run, ", ".join(parts))


def _notice(run: Run, message: str) -> None:
    run.report(Progress("notice", message=message))


def _end_generation(model: Any, ends: set[int]) -> None:  # noqa: ANN401
    """Let generation end where answers end, whatever the base's settings say."""
    known = model.generation_config.eos_token_id
    known = known if isinstance(known, list) else [] if known is None else [known]
    model.generation_config.eos_token_id = sorted({*known, *ends})


def _render_sample(config: TrainConfig, tokenizer: "PreTrainedTokenizerBase") -> Any:  # noqa: ANN401
    """Make what turns a sample's prompt into what the model is sent: a question in its format."""
    template = find_template(config.data.template) if config.data.template else None
    # A system message that is the same for every row belongs to every question.
    system = template.system if template and not columns_in(template.system) else ""
    # The chat template puts the start token in; a tokenizer that does so too must not see it.
    adds_start = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]

    def render_sample(prompt: str) -> str:
        messages = [Message(role="system", content=system)] if system else []
        messages.append(Message(role="user", content=prompt))
        text = render(messages, tokenizer, add_generation_prompt=True)
        return text.removeprefix(str(tokenizer.bos_token)) if adds_start else text

    return render_sample
