"""A causal language model in this process, for evaluation: greedy answers in batches, and scores.

Loaded when it is first asked, onto the GPU if there is one (bfloat16 where that multiplies it,
else float32). Weights are read from safetensors only and no code of a model's folder is run.
"""

import gc
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.chunk import Chunk
from data_tools.errors import ModelError, reason_of
from retrieval.embed import has_bfloat16
from retrieval.fence import REPEATABLE_KEY, break_tokens, steering_tokens
from retrieval.prompt import MAX_EVIDENCE_CHARS, answer_messages
from training.answering import Prompt, clean_answer
from training.bits_per_byte import LONGEST_WINDOW_TOKENS, TextScore, score_texts
from training.config import Model
from training.export_source import Source, find_source
from training.hashes import model_hash, template_hash
from training.lora import ADAPTER_CONFIG, FACTS, check_base
from training.model import device_type, find_model, load_tokenizer, read_model

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}  # prompts and answers of one batch, padded
BATCH_PROMPTS = 64
QUESTION_TOKENS = 100  # left free in a prompt
MARGIN = 0.8  # of what passages of average length leave room for


class LocalModel:
    """A model's folder or Hugging Face name, with an adapter on it or not."""

    is_identified = True

    def __init__(
        self,
        name: str,
        adapter: str | None = None,
        *,
        max_tokens: int,
        window: int = LONGEST_WINDOW_TOKENS,
    ) -> None:
        """Find the files; the weights are not loaded yet.

        :param name: folder of a model or a run, Hugging Face name or `models:/NAME@ALIAS`; an
            adapter stands for itself on its base.
        :param adapter: an adapter that is put on the model.
        :param max_tokens: the longest answer.
        :param window: tokens of a text that are read at once, where the context takes as many: a
            model is fairly scored only in windows as long as those it was trained on.
        :raises ModelError: there is no such model, no weights in safetensors, or the adapter was
            trained on another.
        """
        self.name = name if adapter is None else f"{name} + {adapter}"
        self._max_tokens = max_tokens
        found = _find(name)
        if found.kind == "adapter" and adapter is not None:
            raise ModelError(f"{name} is an adapter itself: give its base model with --adapter")
        self.adapter = found.folder if found.kind == "adapter" else None
        self.folder = _find(read_base(found.folder)).folder if self.adapter else found.folder
        if adapter is not None:
            self.adapter = _find(adapter).folder
        if self.adapter and (self.adapter / FACTS).is_file():
            check_base(self.adapter, self.folder)
        self._loaded: PreTrainedModel | None = None
        self.context_tokens = self._read_context()
        self.window = min(window, self.context_tokens or window)
        self.fingerprint = self._hash()

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights that were tuned: the adapter's, where there is one."""
        return model_hash(self.adapter or self.folder)

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer: the adapter's own if it has one.

        :raises ModelError: it cannot be loaded.
        """
        own = self.adapter and (self.adapter / "tokenizer_config.json").is_file()
        folder = self.adapter if own else self.folder
        return load_tokenizer(Model(name=str(self.folder), tokenizer=str(folder)))

    def tokenize(self, text: str) -> list[int]:
        """Cut a text into tokens, without any that stand at its ends."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def room_for(self, passages: Sequence[Chunk]) -> int:
        """Return how many characters of passages like these a prompt and its answer leave room for.

        :param passages: a sample; their numbered lines take more tokens than plain text.
        """
        if self.context_tokens is None or not passages:
            return MAX_EVIDENCE_CHARS
        empty = len(self._render(answer_messages("", [], key=REPEATABLE_KEY)))
        full = len(self._render(answer_messages("", passages, key=REPEATABLE_KEY)))
        chars_per_token = sum(len(passage.text) for passage in passages) / max(full - empty, 1)
        tokens = self.context_tokens - self._max_tokens - empty - QUESTION_TOKENS
        return min(MAX_EVIDENCE_CHARS, max(int(tokens * chars_per_token * MARGIN), 0))

    def plan(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Put prompts of like length together, longest first, so that little is padded."""
        lengths = [len(self._render(prompt)) for prompt in prompts]
        room = BATCH_TOKENS[device_type()]
        batches: list[list[int]] = []
        for number in sorted(range(len(prompts)), key=lambda number: -lengths[number]):
            rows = room // (lengths[batches[-1][0]] + self._max_tokens) if batches else 0
            if batches and len(batches[-1]) < min(max(rows, 1), BATCH_PROMPTS):
                batches[-1].append(number)
            else:
                batches.append([number])
        return batches

    def answer(self, prompts: Sequence[Prompt]) -> list[str | None]:
        """Answer one batch; a batch that does not fit the memory is halved.

        :raises ModelError: the model cannot be loaded, has no chat template, or does not fit the
            memory even with one prompt.
        """
        rendered = [self._render(prompt) for prompt in prompts]
        limit = self.context_tokens
        fitting = [ids for ids in rendered if limit is None or len(ids) < limit]
        answers = iter(self._generate(fitting))
        return [next(answers) if limit is None or len(ids) < limit else None for ids in rendered]

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Score texts.

        :raises ModelError: the model cannot be loaded.
        """
        return list(score_texts(self._model, self.tokenizer, texts, window_tokens=self.window))

    def close(self) -> None:
        """Give back the memory."""
        import torch

        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def _model(self) -> "PreTrainedModel":
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> "PreTrainedModel":
        from transformers import GenerationConfig

        device = device_type()
        dtype = "bfloat16" if device == "cuda" and has_bfloat16(device) else "float32"
        model: Any = read_model(Model(name=str(self.folder)), self.tokenizer, dtype=dtype)
        ends = {*_list_ends(model.generation_config), self.tokenizer.eos_token_id}
        if self.adapter and (self.adapter / "generation_config.json").is_file():
            ends.update(_list_ends(GenerationConfig.from_pretrained(self.adapter)))
        # A checkpoint's own settings are for sampling.
        model.generation_config = GenerationConfig(
            max_new_tokens=self._max_tokens,
            eos_token_id=sorted(ends - {None}) or None,
            pad_token_id=self._pad_token,
        )
        model.config.use_cache = True
        if self.adapter:
            model = _put_on(self.adapter, model)
        return model.to(device).eval()  # type: ignore[no-any-return]

    def _generate(self, rows: Sequence[Sequence[int]]) -> list[str]:
        import torch

        if not rows:
            return []
        try:
            return self._generate_batch(rows)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise ModelError(
                    f"{self.name} does not fit the GPU's memory with a prompt of {len(rows[0]):,} "
                    "tokens; use a larger GPU, or serve the model and give its --url"
                ) from error
        torch.cuda.empty_cache()
        half = len(rows) // 2
        return self._generate(rows[:half]) + self._generate(rows[half:])

    def _generate_batch(self, rows: Sequence[Sequence[int]]) -> list[str]:
        import torch

        width = max(map(len, rows))
        inputs = torch.full((len(rows), width), self._pad_token)  # (prompts, positions)
        mask = torch.zeros_like(inputs)
        for row, ids in enumerate(rows):  # padded on the left: answers go on from the right
            inputs[row, width - len(ids) :] = torch.tensor(ids)
            mask[row, width - len(ids) :] = 1
        model: Any = self._model
        longest = self._max_tokens
        if self.context_tokens is not None:
            longest = min(longest, self.context_tokens - width)
        with torch.inference_mode():
            outputs = model.generate(
                input_ids=inputs.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=longest,
            )
        texts = self.tokenizer.batch_decode(outputs[:, width:], skip_special_tokens=True)
        return [clean_answer(text) for text in texts]

    @property
    def _pad_token(self) -> int:
        """Any will do, because it is masked."""
        found = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((token for token in found if token is not None), 0)

    def _render(self, prompt: Prompt) -> list[int]:
        """Write a prompt as the model was taught to read it."""
        from jinja2 import TemplateError

        if not self.tokenizer.chat_template:
            raise ModelError(
                f"{self.name} has no chat template, so it cannot be asked questions: evaluate it "
                "without --pairs and --questions, or put a chat_template.jinja into its folder"
            )
        steering = steering_tokens(self.tokenizer)
        try:
            text = self.tokenizer.apply_chat_template(
                [
                    {"role": each["role"], "content": break_tokens(each["content"], steering)}
                    for each in prompt
                ],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,  # Qwen3's switch; other templates ignore it
            )
        except TemplateError as error:
            raise ModelError(
                f"the chat template of {self.name} refuses a conversation ({error}); "
                "choose a model that takes system messages"
            ) from error
        return self.tokenize(str(text))

    def _read_context(self) -> int | None:
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # the boundary: transformers raises a dozen kinds
            raise ModelError(
                f"{self.name} has no config.json that can be read; give a model's own folder"
            ) from error
        return getattr(config.get_text_config(), "max_position_embeddings", None)

    def _hash(self) -> str:
        """Hash all that answers hang on."""
        parts = [
            model_hash(self.folder),
            model_hash(self.adapter) if self.adapter else "",
            template_hash(self.tokenizer) or "",
            device_type(),
            str(self._max_tokens),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_base(adapter: Path) -> str:
    """Read which model an adapter is made for.

    :raises ModelError: its folder does not say so.
    """
    try:
        settings = json.loads((adapter / ADAPTER_CONFIG).read_text("utf-8"))
        return str(settings["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{adapter} does not say which model it adapts: give the model, and this as --adapter"
        ) from error


def _list_ends(config: "GenerationConfig") -> list[int | None]:
    """List the tokens that end an answer."""
    ends = config.eos_token_id
    return ends if isinstance(ends, list) else [ends]


def _find(name: str) -> Source:
    """Find a model's or an adapter's folder: also a run's, a registered one, or one on the hub."""
    from training.registry import resolve_model

    folder = Path(resolve_model(name)).expanduser()
    return find_source(folder if folder.is_dir() else find_model(name))


def _put_on(adapter: Path, model: "PreTrainedModel") -> "PreTrainedModel":
    """Put an adapter on its base."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter))  # type: ignore[return-value]
    except Exception as error:  # the boundary: peft raises several kinds
        raise ModelError(
            f"the adapter {adapter} does not fit the model ({reason_of(error)}); give the base "
            "that it was trained on"
        ) from error
