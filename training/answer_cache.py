"""What a model said and scored so far, so that an evaluation that was stopped goes on.

One JSONL file a model, appended to after every batch; a last line that was cut off by a crash is
passed over. Keys are hashes of all that the value hangs on besides the model. No model is used
here.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_tools.clone import cache_folder
from data_tools.storage import storage_errors


def default_folder() -> Path:
    """Return where caches are kept: in codeqa's cache of the user."""
    return cache_folder() / "evaluations"


class AnswerCache:
    """Values by key, in memory and in the file of one model."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Read what is there; a file that cannot be read counts as empty."""
        self.file = folder / f"{fingerprint}.jsonl"
        self._values: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            for line in self.file.read_text("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    record = json.loads(line)
                    self._values[str(record["key"])] = record["value"]

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        return self._values[key]

    def add(self, values: Mapping[str, Any]) -> None:
        """Keep JSON values, on disk before this returns.

        :raises StorageError: the disk is full, or the cache is not writable.
        """
        lines = "".join(
            json.dumps({"key": key, "value": value}) + "\n" for key, value in values.items()
        )
        with storage_errors(self.file.parent):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a+b") as stream:
                if stream.tell() and _is_cut_off(self.file):
                    stream.write(b"\n")
                stream.write(lines.encode("utf-8"))
                stream.flush()
                os.fsync(stream.fileno())
        self._values.update(values)

    def forget(self) -> None:
        """Delete everything, the file too."""
        self._values.clear()
        with storage_errors(self.file.parent):
            self.file.unlink(missing_ok=True)


def _is_cut_off(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"


def hash_key(*parts: object) -> str:
    """Hash JSON values to a key."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
