"""What the tests of the API share: the app without its page, on a real port."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai

from app.access import Access
from app.api import make_app
from app.metrics import Metrics
from app.models import Models, open_models
from app.server import Server
from app.workspace import Workspace
from tests.fakes import FakeEncoder


@dataclass(frozen=True)
class ServedApi:
    """A running API.

    :param url: its root.
    """

    url: str
    workspace: Workspace
    models: Models
    metrics: Metrics

    def client(self) -> openai.OpenAI:
        """An OpenAI client that does not try again by itself."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)


@contextmanager
def serve_api(
    index_folder: Path, *llm: str, host: str = "127.0.0.1", access: Access | None = None
) -> Iterator[ServedApi]:
    """Serve an index in the `with` block."""
    workspace = Workspace(index_folder, embedder=FakeEncoder())
    models, metrics = open_models(llm), Metrics()
    app = make_app(workspace, models, metrics, host=host, access=access)
    server = Server(app, host=host, port=0)
    try:
        yield ServedApi(server.url, workspace, models, metrics)
    finally:
        server.close()
