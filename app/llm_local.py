"""A causal language model in this process as a LangChain chat model.

Why not langchain-huggingface: its pipeline streams, but a stream that is closed early goes
on generating, a generation that fails leaves the reader waiting for 60 seconds, and nothing
keeps two users from the model at once. transformers' own `TextIteratorStreamer` decodes
every line on its own, and with SentencePiece tokenizers code loses its indentation.
"""

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Lock, Thread, main_thread
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from data_tools.errors import LanguageModelError
from retrieval.fence import break_tokens, steering_tokens

if TYPE_CHECKING:
    import torch

HALF_CHARACTER = "\ufffd"  # what a decoder shows for bytes whose rest has not come yet
THINK_OPEN = "<think>"


class LocalChatModel(BaseChatModel):
    """A loaded model. It gives one answer at a time; the next one waits for its turn."""

    model_name: str
    model: Any
    tokenizer: Any
    max_new_tokens: int
    _turn: Lock = PrivateAttr(default_factory=Lock)

    @property
    def turn(self) -> Lock:
        """Held by who uses the model or the tokenizer; neither is safe to share."""
        return self._turn

    @property
    def _llm_type(self) -> str:
        return "transformers"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if stop or kwargs:
            raise ValueError("stop sequences and other generation options are not supported")
        prompt = self.render(messages)
        if prompt.rstrip().endswith(THINK_OPEN):  # some templates open the block themselves
            yield ChatGenerationChunk(message=AIMessageChunk(content=THINK_OPEN))
        generation = _Generation(self, prompt)
        generation.start()
        try:
            while (text := generation.texts.get()) is not None:
                yield ChatGenerationChunk(message=AIMessageChunk(content=text))
        finally:
            generation.stopped.set()
        if generation.error is not None:
            raise generation.error
        yield ChatGenerationChunk(message=generation.describe())

    def render(self, messages: list[BaseMessage]) -> str:
        """The prompt that the model's own chat template makes of `messages`.

        :raises LanguageModelError: the template refuses them, as some do system messages.
        """
        from jinja2 import TemplateError

        steering = steering_tokens(self.tokenizer)
        spoken = [
            {"role": message["role"], "content": break_tokens(message["content"], steering)}
            for message in convert_to_openai_messages(messages)
        ]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    spoken,
                    tokenize=False,
                    add_generation_prompt=True,
                    enable_thinking=False,  # Qwen3's switch; other templates ignore it
                )
            )
        except TemplateError as error:
            raise LanguageModelError(
                f"the chat template of {self.model_name} refuses this conversation ({error}): "
                "choose a model that takes system messages"
            ) from error


class _Generation(Thread):
    """One answer in the making: `texts` gets its pieces, then None.

    It is also the streamer that transformers hands each token to.
    """

    def __init__(self, chat: LocalChatModel, prompt: str) -> None:
        super().__init__(name="codeqa-generation")
        self.texts: SimpleQueue[str | None] = SimpleQueue()
        self.stopped = Event()
        self.error: Exception | None = None
        self._chat = chat
        self._prompt = prompt
        self._prompt_seen = False
        self._prompt_tokens = 0
        self._room = chat.max_new_tokens
        self._token_ids: list[int] = []
        self._context_start = 0  # the tokens from here on are decoded again with each new one
        self._shown_end = 0  # the tokens up to here have been shown

    def run(self) -> None:
        # The lock belongs to this thread and not to the reader, who may never come back.
        try:
            with self._chat.turn:
                if not self.stopped.is_set():
                    self._run_model()
        except Exception as error:
            self.error = error  # raised in the reader's thread
        finally:
            self.texts.put(None)

    def describe(self) -> AIMessageChunk:
        """Why it ended and what it took, as the last chunk of a stream says it."""
        generated = len(self._token_ids)
        return AIMessageChunk(
            content="",
            response_metadata={"finish_reason": "length" if generated >= self._room else "stop"},
            usage_metadata={
                "input_tokens": self._prompt_tokens,
                "output_tokens": generated,
                "total_tokens": self._prompt_tokens + generated,
            },
        )

    def _run_model(self) -> None:
        model = self._chat.model
        inputs = self._chat.tokenizer(
            self._prompt, add_special_tokens=False, return_tensors="pt"
        ).to(model.device)
        self._prompt_tokens = inputs["input_ids"].shape[1]
        self._room = self._measure_room(self._prompt_tokens)
        model.generate(
            **inputs,
            max_new_tokens=self._room,
            streamer=self,
            stopping_criteria=[self._should_stop],
        )
        self._show(at_end=True)

    def _measure_room(self, prompt_tokens: int) -> int:
        """How many tokens the answer may have."""
        config = self._chat.model.config.get_text_config()
        context_tokens = getattr(config, "max_position_embeddings", None)
        if context_tokens is None:  # a recurrent model, for example
            return self._chat.max_new_tokens
        if prompt_tokens >= context_tokens:
            raise LanguageModelError(
                f"the question and its evidence are {prompt_tokens} tokens, and "
                f"{self._chat.model_name} takes {context_tokens}: ask for fewer results, or choose "
                "a model with a longer context"
            )
        return min(self._chat.max_new_tokens, int(context_tokens) - prompt_tokens)

    def put(self, token_ids: "torch.Tensor") -> None:
        """Take what transformers hands a streamer: first the prompt, then each token."""
        if self._prompt_seen:
            self._token_ids.append(int(token_ids.item()))
            self._show()
        self._prompt_seen = True

    def end(self) -> None:
        """Nothing to do: `run` ends the queue, after a failure too."""

    def _show(self, *, at_end: bool = False) -> None:
        """Pass on new text, once its characters are whole.

        A token is decoded behind the ones shown before it: alone, it may lose its space.
        """
        known = self._decode(self._token_ids[self._context_start : self._shown_end])
        text = self._decode(self._token_ids[self._context_start :])
        if len(text) > len(known) and (at_end or not text.endswith(HALF_CHARACTER)):
            self.texts.put(text[len(known) :])
            self._context_start, self._shown_end = self._shown_end, len(self._token_ids)

    def _decode(self, token_ids: list[int]) -> str:
        return str(
            self._chat.tokenizer.decode(
                token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _should_stop(self, input_ids: "torch.Tensor", scores: object) -> "torch.Tensor":
        import torch

        # The second: the program is ending, and would wait for this thread.
        stop = self.stopped.is_set() or not main_thread().is_alive()
        return torch.full((len(input_ids),), stop, device=input_ids.device)
