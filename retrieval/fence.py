"""A fence around what nobody vouches for in a prompt: passages, notes, earlier turns.

Marks that hold a nonce divide it from what is asked. The nonce is drawn anew for each request, and
never one that stands in the text itself, so no text can close its fence or open another. It is the
same for the same request, so that a server finds a prompt that it has read before in its cache.

Tokens that chat templates and tokenizers take for the end of a turn or for a role are broken up, as
is what cannot be seen (`data_tools.hidden_text`). A fence tells a model what is data; it cannot
make a model heed that. So nothing hangs on its answer: `app.markdown` renders it as text that
loads nothing, and no tool is offered to the model.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

from data_tools.hidden_text import show_hidden, show_on_one_line

NONCE_DIGITS = 12  # digits, not letters: most tokenizers cut all numbers of one length alike
PROCESS_KEY = secrets.token_bytes(32)
# For prompts that are kept or compared: datasets, evaluations, exported votes. That it is known
# opens no fence, because no nonce is drawn that stands in the text.
REPEATABLE_KEY = b"codeqa"

_BAR, _WORD = r"[|\uff5c]", r"[^\s<>|\uff5c]{1,64}"
_CONTROL_TOKEN = re.compile(
    rf"[<\uff1c](?=(?:{_BAR}{_WORD}{_BAR}?|{_WORD}{_BAR})[>\uff1e]"  # ChatML, Llama 3, DeepSeek …
    r"|/?(?:s|bos|eos|pad|unk|sep|cls|mask|think|thinking|tools?|tool_\w{1,32}|function_\w{1,32}"
    r"|(?:start|begin|end)_of_\w{1,32}|fim[_-]\w{1,32}|extra_id_\d+|unused\d+|reserved_\w{1,32})>"
    r"|</?SYS>>)"  # Llama 2
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_\w{1,32}|THINK|ARGS|CALL_ID|IMG\w{0,8}"
    r"|PREFIX|MIDDLE|SUFFIX)\])"  # Mistral
)


@dataclass(frozen=True)
class Fence:
    """Marks for one request.

    :param nonce: `NONCE_DIGITS` digits, which are nowhere in what the marks enclose.
    """

    nonce: str

    def enclose(self, parts: Iterable[tuple[str, str]]) -> str:
        """Write (name, text) pairs one below the other, a mark before each and one at the end."""
        lines = [f"{self.mark(name)}\n{text}" for name, text in parts]
        return "\n".join([*lines, self.mark("end")])

    def mark(self, name: str) -> str:
        """Write the line before a part, or the last one."""
        return f"<<{self.nonce} {name}>>"


def raise_fence(texts: Iterable[str], *, key: bytes = PROCESS_KEY) -> Fence:
    """Make the fence of a request.

    :param texts: all that the request holds and nobody vouches for, the question included.
    """
    content = "\0".join(texts)
    digest = hmac.new(key, content.encode("utf-8", "replace"), hashlib.sha256).digest()
    drawn = (hmac.digest(digest, str(attempt).encode(), "sha256") for attempt in count())
    numbers = (int.from_bytes(each) % 10**NONCE_DIGITS for each in drawn)
    nonces = (f"{number:0{NONCE_DIGITS}}" for number in numbers)
    return Fence(next(nonce for nonce in nonces if nonce not in content))


def plain(text: str) -> str:
    """Make a text safe to stand in a message: nothing hidden in it, no token that steers a model.

    A space breaks such a token up, as in `< |im_end|>`: people and models still see what it was.
    """
    return break_tokens(show_hidden(text))


def plain_name(name: str) -> str:
    """Do the same to the name of a file, a symbol or a repository, which stays on one line."""
    return break_tokens(show_on_one_line(name))


def break_tokens(text: str, tokens: Collection[str] = ()) -> str:
    """Break up the control tokens of the common chat templates, and `tokens` of one's own."""
    text = _CONTROL_TOKEN.sub(r"\g<0> ", text)
    for token in tokens:
        text = text.replace(token, f"{token[:1]} {token[1:]}")
    return text


def steering_tokens(tokenizer: Any) -> set[str]:  # noqa: ANN401
    """List the tokens that a Hugging Face tokenizer takes for more than text."""
    added = tokenizer.added_tokens_decoder.values()
    return {token.content for token in added if token.special}
