"""Whether the app can answer, cheap enough to be asked every second.

The app is ready once there is an index. A model's server that is down is reported and does not
make it unready: the page still searches, and says of an answer what failed. A load balancer that
took it away would take the message with it.
"""

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.models import Models
from app.ports import LOOPBACK_HOSTS
from app.workspace import Workspace
from data_tools.errors import CodeQAError

RECHECK_S = 10.0  # the model's server is asked no more often
TIMEOUT_S = 2.0


class Health:
    """What `/readyz` reports."""

    def __init__(self, workspace: Workspace, models: Models) -> None:
        self._workspace = workspace
        self._models = models
        self._model = "unknown"
        self._checked_s = -RECHECK_S
        self._checking = asyncio.Lock()

    async def report(self) -> dict[str, Any]:
        """Say what works.

        :return: `ready`; `index`: "nothing", "words" or "everything"; `building`; `model`:
            "none", "ok" or "unreachable".
        """
        status = self._workspace.status
        return {
            "ready": self._workspace.index() is not None,
            "index": status.ready,
            "building": status.building,
            "model": await self._check_model(),
        }

    async def _check_model(self) -> str:
        if self._models.default is None:
            return "none"
        async with self._checking:
            if time.monotonic() - self._checked_s >= RECHECK_S:
                self._model = await self._ask_model(self._models.default)
                self._checked_s = time.monotonic()
        return self._model

    async def _ask_model(self, name: str) -> str:
        """Ask the model's server for its list of models; any reply shows that it is there."""
        try:
            chat = await asyncio.to_thread(self._models.get, name)
        except CodeQAError:
            return "unreachable"
        url = getattr(chat, "openai_api_base", None)
        if url is None:  # it runs in this process
            return "ok"
        local = urlsplit(url).hostname in LOOPBACK_HOSTS
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=not local) as client:
                reply = await client.get(f"{url.rstrip('/')}/models")
        except httpx.HTTPError:
            return "unreachable"
        return "unreachable" if reply.is_server_error else "ok"
