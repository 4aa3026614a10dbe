"""How far repositories are behind, asked in the background and remembered for a while."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from app.repositories_html import ASKING, Behind
from data_tools.clone import count_commits_behind
from data_tools.errors import CodeQAError
from retrieval.generations import RepositoryRecord

REMEMBERED_S = 600.0


class Freshness:
    """Counts the commits that an index lacks; never makes anyone wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[Behind, float]] = {}
        self._asking: set[tuple[str, str]] = set()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="behind")

    def behind(self, record: RepositoryRecord) -> Behind:
        """Return the number of newer commits, `ASKING` until it is known, or why it is not."""
        key = (record.location, record.commit)
        with self._lock:
            known, asked_s = self._known.get(key, (ASKING, 0.0))
            if time.monotonic() - asked_s > REMEMBERED_S and key not in self._asking:
                self._asking.add(key)
                self._threads.submit(self._ask, key, record)
            return known

    @property
    def asking(self) -> bool:
        """Whether an answer is still on its way."""
        with self._lock:
            return bool(self._asking)

    def _ask(self, key: tuple[str, str], record: RepositoryRecord) -> None:
        answer: Behind = "it could not be asked"
        try:
            answer = count_commits_behind(record.repository)
        except CodeQAError as error:
            answer = str(error)
        finally:
            with self._lock:
                now_s = time.monotonic()
                self._known = {  # of commits that were indexed once, nobody asks any more
                    other: known
                    for other, known in self._known.items()
                    if now_s - known[1] <= 2 * REMEMBERED_S
                }
                self._known[key] = (answer, time.monotonic())
                self._asking.discard(key)
