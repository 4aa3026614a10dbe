"""Tokenizers: made from text, loaded, and told apart by a hash.

A made tokenizer is byte-level BPE, so that every text survives it unchanged; it begins, ends and
pads with tokens of their own, and speaks ChatML. Nothing of a tokenizer's repository is run.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.dataset import content_hash
from data_tools.documents import Corpus, read_document
from data_tools.drafts import whole_folder
from data_tools.errors import ModelError, reason_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

BOS, EOS, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (PAD, BOS, EOS, TURN_START, TURN_END)  # ids 0 to 4
VOCAB_SIZE = 4096
MIN_VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)  # every byte, and the special tokens
CONFIG = "tokenizer_config.json"
RECORD = "codeqa.json"  # the hash of all that a made tokenizer depends on
FORMAT = 1  # of the rules below; part of that hash
# https://github.com/openai/openai-python/blob/v0.28.1/chatml.md; the spans that `generation`
# marks are what a model learns to write, its end of turn included.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
# Letters, numbers of at most three digits, runs of signs, and white space in runs: indentation is
# one token. GPT-4's split pattern (cl100k_base), in the regular expressions that tokenizers has.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = VOCAB_SIZE, *, progress: bool = False
) -> "PreTrainedTokenizerFast":
    """Learn a byte-level BPE vocabulary; the same texts give the same one.

    :param texts: read once, in batches.
    :param vocab_size: tokens, special ones included; fewer if the texts have no more to merge.
    :raises ValueError: it is below `MIN_VOCAB_SIZE`.

    Source: Sennrich, Haddow & Birch, ACL 2016, doi:10.18653/v1/P16-1162; over bytes as in GPT-2.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"a vocabulary must have at least {MIN_VOCAB_SIZE} tokens")
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=progress,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    trained.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[TURN_START, TURN_END],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def make_tokenizer(
    corpus: Corpus, folder: Path, vocab_size: int = VOCAB_SIZE, *, force: bool = False
) -> bool:
    """Train a tokenizer on a corpus and write it, unless the same one stands there already.

    :param force: write it even then.
    :return: whether it was written.
    :raises StorageError: the disk is full, or `folder` holds something else.
    """
    documents = [document.sha256 for document in corpus.documents]
    made = {"tokenizer": FORMAT, "documents": documents, "vocab_size": vocab_size}
    record = json.dumps({"inputs": content_hash(made)}) + "\n"
    file = folder / RECORD
    if not force and file.is_file() and file.read_text("utf-8") == record:
        return False
    tokenizer = train_tokenizer(map(read_document, corpus.documents), vocab_size)
    with whole_folder(folder, CONFIG) as draft:
        tokenizer.save_pretrained(str(draft))
        (draft / RECORD).write_text(record, "utf-8")
    return True


def load_tokenizer(name: str) -> "PreTrainedTokenizerBase":
    """Load a tokenizer from a Hugging Face folder or by its name.

    :raises ModelError: there is none, or it cannot be loaded without running foreign code.
    """
    from transformers import AutoTokenizer

    folder = Path(name).expanduser()
    made = "make one with `codeqa tokenizer CORPUS --out DIR`"
    if folder.is_dir() and not any((folder / file).is_file() for file in (CONFIG, "config.json")):
        raise ModelError(f"{name} holds no tokenizer; {made}")
    if not folder.is_dir() and not _HUB_NAME.fullmatch(name):
        raise ModelError(f"there is no folder {name}; {made}")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder) if folder.is_dir() else name, trust_remote_code=False
        )
    except Exception as error:  # hub, network, JSON, and tokenizers' own bare Exception
        raise ModelError(
            f"cannot load the tokenizer {name} ({reason_of(error)}); give a Hugging Face folder or "
            f"name, or {made}"
        ) from error
    return tokenizer


def tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Hash what decides a text's tokens: vocabulary and rules, special tokens, chat template.

    Its name, its folder and how long a text it takes do not count, nor how it was last called.
    """
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    content = [_serialise(tokenizer), special, tokenizer.chat_template]
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _serialise(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # written in Python: its vocabulary, and its class for the rules
        added = {str(token): at for token, at in tokenizer.get_added_vocab().items()}
        return {
            "class": type(tokenizer).__name__,
            "vocab": tokenizer.get_vocab(),
            "added": added,
        }
    content: dict[str, Any] = json.loads(backend.to_str())
    # How the last call padded and truncated is kept there too, and is no part of it.
    return {key: value for key, value in content.items() if key not in ("padding", "truncation")}
