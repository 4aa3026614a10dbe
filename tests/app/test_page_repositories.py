"""The panel's routes: how often one person may change what is indexed, and what is sent amiss."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.web import WebChat
from tests.app.guarded import BEARER, TOKEN, served_to_others

ADD, ACT = 0, 1  # the numbers that Gradio gives the panel's functions


@pytest.fixture(scope="module")
def chat(index_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebChat]:
    file = tmp_path_factory.mktemp("others") / "conversations.sqlite"
    with served_to_others(index_folder, file, limits=("repositories=3/hour",)) as chat:
        yield chat


def run(client: httpx.Client, function: int, data: list[Any], event: object = None) -> str:
    """What the panel says is wrong."""
    body = {"data": data, "fn_index": function, "session_hash": "x", "event_data": event}
    reply = client.post("/gradio_api/run/predict", json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["data"][1 if function == ADD else 0])


def test_changes_are_counted_for_each_person_and_looks_are_not(chat: WebChat) -> None:
    for _ in range(2):
        with httpx.Client(base_url=chat.url, timeout=30) as client:
            client.get("/", params={"token": TOKEN})
            for _ in range(5):
                assert run(client, ACT, [], {"do": "refresh"}) == ""
            assert "folders of the server" in run(client, ADD, ["/etc"])
            assert "holds no repository" in run(client, ACT, [], {"do": "remove", "name": "x"})
            assert "holds no repository" in run(client, ACT, [], {"do": "update", "name": "x"})
            problem = run(client, ADD, ["/etc"])
            assert "more than 3 repositories per hour: try again in" in problem


@pytest.mark.parametrize("event", [None, "x", 1, [], {}, {"do": ["update"]}, {"name": {"a": 1}}])
def test_what_no_button_says_does_nothing(chat: WebChat, event: object) -> None:
    with httpx.Client(base_url=chat.url, headers=BEARER, timeout=30) as client:
        assert run(client, ACT, [], event) == ""
