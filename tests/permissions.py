"""Files that are closed to us, even where tests run as root."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65_534


@contextmanager
def not_as_root() -> Iterator[Path]:
    """Give a folder and, if we are root, to whom nothing is closed, be nobody meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        user = os.geteuid()
        if user == 0:
            os.chown(name, NOBODY, NOBODY)
            try:
                os.seteuid(NOBODY)
            except OSError:
                pytest.skip("root may not become another user here, and nothing is closed to root")
        try:
            yield Path(name)
        finally:
            os.seteuid(user)
