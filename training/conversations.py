"""Rows of pairs, in the shapes they come in, as conversations to train on.

A row is a conversation already (`prompt` and `completion`, as RAFT pairs are, or `messages`), a
`question` with its `answer`, or has any columns that a template maps (`training.templates`). Rows
come from JSONL files, from folders and versions of datasets, and from Hugging Face (`hf://`). No
row is guessed at: one that fits no shape is an error that lists its columns.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.dataset import MANIFEST, SHORT_HASH, content_hash, hash_file, resolve, verify
from data_tools.errors import DatasetError, reason_of
from retrieval.prompt import Message
from training.config import Data
from training.templates import Conversation, Template, fill, find_template

HUB = "hf://"
VALIDATION_SHARE = 0.05  # of the prompts, where a source has no validation split of its own
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Pairs:
    """What a run trains on, and what it is measured on.

    :param left_out: rows whose question or answer is empty.
    :param versions: of each source, `NAME@HASH`.
    """

    train: list[Conversation]
    validation: list[Conversation]
    left_out: int
    versions: list[str]


def read_pairs(data: Data, seed: int) -> Pairs:
    """Read all sources of pairs.

    Where a source has no validation split, 5 % of its prompts are set aside: by a hash of the
    prompt and the seed, so that equal prompts stand on one side and order does not matter.

    :raises DatasetError: a source is missing, damaged or empty, or a row is of no known shape.
    :raises ConfigError: the template is none.
    """
    template = None if data.template is None else find_template(data.template)
    train: list[Conversation] = []
    validation: list[Conversation] = []
    left_out = 0
    versions = []
    for source in data.pairs:
        splits, version = _open(source)
        versions.append(version)
        read = {split: _read(rows, template) for split, rows in splits.items()}
        left_out += sum(empty for _, empty in read.values())
        rows, held_out = read["train"][0], read.get("validation", ([], 0))[0]
        if not rows:
            raise DatasetError(f"{source} holds no pair that has a question and an answer")
        if not held_out:
            rows, held_out = hold_out(rows, seed)
        train += rows
        validation += held_out
    return Pairs(train, validation, left_out, versions)


def pair_versions(sources: Sequence[str]) -> list[str] | None:
    """Name the sources as they are now, `NAME@HASH` each; None if the hub would have to be asked.

    :raises DatasetError: one is missing or damaged.
    """
    if any(source.startswith(HUB) for source in sources):
        return None
    return [_open(source)[1] for source in sources]


def hold_out(
    conversations: Sequence[Conversation], seed: int, share: float = VALIDATION_SHARE
) -> tuple[list[Conversation], list[Conversation]]:
    """Set a share of the prompts aside; at least one, unless there is only one.

    :return: what is left, and what is set aside, each in the order given.
    """
    keys = [_prompt_key(conversation, seed) for conversation in conversations]
    distinct = sorted(set(keys))
    aside = set(distinct[: max(1, round(share * len(distinct)))] if len(distinct) > 1 else [])
    sides: tuple[list[Conversation], list[Conversation]] = ([], [])
    for key, conversation in zip(keys, conversations, strict=True):
        sides[key in aside].append(conversation)
    return sides


def conversation_of(
    row: Mapping[str, Any], template: Template | None, place: str
) -> Conversation | None:
    """Make a conversation of one row.

    :param place: what to call the row in an error, such as `train.jsonl:3`.
    :return: None if its question or its answer is empty.
    :raises DatasetError: it is of no known shape.
    """
    if template:
        return fill(template, row, place)
    if "prompt" in row and "completion" in row:
        prompt = _messages(row["prompt"], "user", place)
        messages = prompt + _messages(row["completion"], "assistant", place)
        prompt_messages = len(prompt)
    elif "messages" in row:
        messages, prompt_messages = _messages(row["messages"], "user", place), 0
    elif "question" in row and "answer" in row:
        prompt = _messages(row["question"], "user", place)
        messages = prompt + _messages(row["answer"], "assistant", place)
        prompt_messages = len(prompt)
    else:
        raise DatasetError(
            f"{place} has the columns {', '.join(row) or 'none'}, which are no conversation: map "
            "them with `data.template`"
        )
    if not any(message["role"] == "assistant" for message in messages[prompt_messages:]):
        raise DatasetError(f"{place} has no message of the assistant to train on")
    if len(messages) < 2 or not all(message["content"].strip() for message in messages):
        return None
    return Conversation(tuple(messages), prompt_messages)


def _messages(value: object, role: str, place: str) -> list[Message]:
    """Read a list of messages, or one text as the message of `role`."""
    if isinstance(value, str):
        return [Message(role=role, content=value)]
    if not isinstance(value, list) or not all(_is_message(message) for message in value):
        raise DatasetError(
            f"{place}: messages must look like "
            '[{"role": "user", "content": "…"}, …], with roles ' + ", ".join(ROLES)
        )
    return [Message(role=message["role"], content=message["content"]) for message in value]


def _is_message(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in ROLES
        and isinstance(value.get("content"), str)
    )


def _prompt_key(conversation: Conversation, seed: int) -> str:
    """Hash what is asked: all before the first message that is trained on."""
    asked = conversation.messages[: max(conversation.prompt_messages, 1)]
    return hashlib.sha256(json.dumps([seed, *asked]).encode()).hexdigest()


Rows = Iterator[tuple[str, Mapping[str, Any]]]


def _read(rows: Rows, template: Template | None) -> tuple[list[Conversation], int]:
    """Read rows to conversations; count those that are empty."""
    conversations, empty = [], 0
    for place, row in rows:
        conversation = conversation_of(row, template, place)
        if conversation is None:
            empty += 1
        else:
            conversations.append(conversation)
    return conversations, empty


def _open(source: str) -> tuple[dict[str, Rows], str]:
    """Find a source: its rows by split, and its version."""
    if source.startswith(HUB):
        return _open_hub(source.removeprefix(HUB))
    path = Path(source).expanduser()
    if path.is_file():
        return {"train": _read_jsonl(path)}, f"{path.stem}@{hash_file(path)[:SHORT_HASH]}"
    folder = path if path.is_dir() else resolve(source)
    splits = {
        split: _read_jsonl(folder / f"{split}.jsonl")
        for split in ("train", "validation")
        if (folder / f"{split}.jsonl").is_file()
    }
    if "train" not in splits:
        raise DatasetError(
            f"{folder} holds no train.jsonl; make pairs with `codeqa qa-pairs`, or name a file"
        )
    return splits, _folder_version(folder)


def _folder_version(folder: Path) -> str:
    """Name what a folder holds: its manifest's version, or a hash over its splits."""
    if (folder / MANIFEST).is_file():
        return verify(folder).version
    hashes = {file.name: hash_file(file) for file in sorted(folder.glob("*.jsonl"))}
    return f"{folder.name}@{content_hash(hashes)[:SHORT_HASH]}"


def _read_jsonl(file: Path) -> Rows:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                place = f"{file}:{number}"
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise DatasetError(f"{place} is no JSON; correct or remove the line") from error
                if not isinstance(row, dict):
                    raise DatasetError(f"{place} must be an object of columns, in braces")
                yield place, row
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {file} ({error}); check the file") from error


def _open_hub(name: str) -> tuple[dict[str, Rows], str]:
    """Open a dataset of the Hugging Face hub, or of a folder in its form: `OWNER/NAME@REVISION`."""
    from datasets import load_dataset

    path, _, revision = name.partition("@")
    try:
        splits = load_dataset(path, revision=revision or None)
    except Exception as error:  # the library raises whatever its parsers and its client do
        raise DatasetError(
            f"cannot load the dataset {path} ({reason_of(error)}); check its name and the network, "
            "or give a JSONL file"
        ) from error
    if "train" not in splits:
        raise DatasetError(f"{path} has no split `train`; it has {', '.join(splits)}")

    def rows(split: str) -> Rows:
        for number, row in enumerate(splits[split], start=1):
            yield f"{HUB}{path}, {split}, row {number}", row

    version = revision or content_hash({name: splits[name]._fingerprint for name in splits})
    there = {split: rows(split) for split in ("train", "validation") if split in splits}
    return there, f"{path}@{version[:SHORT_HASH]}"
