"""Keeps the texts of answers while they grow, all of them in one transaction at a time."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from app.history import History
from app.live import Live
from app.runners import BEAT_S
from data_tools.errors import CodeQAError

log = logging.getLogger(__name__)

SAVE_S = 0.5  # so much of a text is lost at most when the process is killed


class Saver:
    """A thread that saves texts and says that this process lives, until it is closed."""

    def __init__(self, history: History, list_lives: Callable[[], Iterable[Live]]) -> None:
        """Begin, and end what processes that died have left unfinished.

        :param list_lives: gives the conversations in which something is being answered.
        """
        self._history = history
        self._list_lives = list_lives
        self._closed = threading.Event()
        with suppress(CodeQAError):  # the first question will say it
            history.beat()
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()
        with suppress(CodeQAError):
            self._history.leave()

    def _run(self) -> None:
        beat_s = time.monotonic()
        while not self._closed.wait(SAVE_S):
            try:
                self._save()
                if time.monotonic() - beat_s >= BEAT_S:
                    beat_s = time.monotonic()
                    self._history.beat()
            except CodeQAError:
                pass  # each answer says so at its end
            except Exception:
                log.exception("answers on their way could not be saved")

    def _save(self) -> None:
        texts: dict[str, tuple[str, ...]] = {}
        for live in self._list_lives():
            with live.lock:
                texts.update(live.unsaved_texts())
        if texts:
            self._history.save_texts(texts)
