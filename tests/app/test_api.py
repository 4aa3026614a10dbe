"""Search, health, metrics and the guard, over real HTTP."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.access import Access
from app.health import Health
from app.ports import is_loopback
from app.records import hit_record
from tests.app.api_helpers import ServedApi, serve_api
from tests.app.guarded import BEARER, TOKEN
from tests.stub_openai import StubOpenAI

QUESTION = "TokenBucket seconds until"


@pytest.fixture(scope="module")
def api(index_folder: Path) -> Iterator[ServedApi]:
    with serve_api(index_folder) as served:
        yield served


def read_metrics(api: ServedApi) -> dict[tuple[str, str], float]:
    """Samples by name and the value of their last label."""
    text = httpx.get(f"{api.url}/metrics").text
    return {
        (sample.name, next(reversed(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_search_gives_the_records_of_the_command_line(
    api: ServedApi,
) -> None:
    options: dict[str, str | int] = {
        "query": QUESTION,
        "k": 2,
        "language": "python",
        "path": "limits/**",
    }
    got = httpx.get(f"{api.url}/api/search", params=options).json()
    posted = {"query": QUESTION, "k": 2, "languages": ["python"], "path": "limits/**"}
    assert httpx.post(f"{api.url}/api/search", json=posted).json() == got
    hits = api.workspace.index().search(  # type: ignore[union-attr]
        QUESTION, 2, languages=["python"], path_glob="limits/**"
    )
    assert got["results"] == [hit_record(rank, hit) for rank, hit in enumerate(hits, start=1)]
    assert got["words_only"] is False
    keys = "rank score repo commit path start_line end_line symbol language url text"
    assert list(got["results"][0]) == keys.split()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "query: Field required"),
        ({"query": " "}, "question"),
        ({"query": "x", "k": "none"}, "k: Input should be a valid integer"),
        ({"query": "x", "k": 51}, "k: Input should be less than or equal to 50"),
        ({"query": "x", "path": "!"}, "!"),
        ({"query": "x", "repo": "nowhere"}, "nowhere"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused_in_words(
    api: ServedApi, options: dict[str, str], said: str
) -> None:
    reply = httpx.get(f"{api.url}/api/search", params=options)
    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]


def test_before_there_is_an_index_the_process_is_alive_and_not_ready(tmp_path: Path) -> None:
    with serve_api(tmp_path / "none") as served:
        assert httpx.get(f"{served.url}/healthz").json() == {"status": "ok"}
        reply = httpx.get(f"{served.url}/readyz")
        assert reply.status_code == 503
        assert reply.json()["index"] == "nothing"
        assert httpx.get(f"{served.url}/api/search", params={"query": "x"}).status_code == 503
        assert not any(name.startswith("codeqa_index") for name, _ in read_metrics(served))


def test_a_model_that_is_down_is_reported_and_the_app_stays_ready(index_folder: Path) -> None:
    with StubOpenAI() as stub, serve_api(index_folder, stub.url) as served:
        assert httpx.get(f"{served.url}/readyz").json() == {
            "ready": True,
            "index": "everything",
            "building": False,
            "model": "ok",
        }
        asked = len(stub.requests)
        httpx.get(f"{served.url}/readyz")
        assert len(stub.requests) == asked  # it is not asked each time
    with StubOpenAI() as stub, serve_api(index_folder, stub.url) as served:
        stub.models_fault = 500
        reply = httpx.get(f"{served.url}/readyz")
        assert (reply.status_code, reply.json()["model"]) == (200, "unreachable")


def test_a_server_that_is_gone_is_unreachable(index_folder: Path) -> None:
    with StubOpenAI() as stub, serve_api(index_folder, stub.url) as served:
        health = Health(served.workspace, served.models)
    assert asyncio.run(health.report())["model"] == "unreachable"


def test_answers_are_counted(index_folder: Path) -> None:
    with StubOpenAI("It waits [1] [99].") as stub, serve_api(index_folder, stub.url) as served:
        with served.client() as client:
            for model, question in (
                ("stub-model", QUESTION),
                ("quotations", QUESTION),
                ("quotations", "zyxwv qponm lkjih?"),
            ):
                client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": question}]
                )
        httpx.get(f"{served.url}/api/search", params={"query": QUESTION})
        counted = read_metrics(served)
    assert counted["codeqa_answers_total", "direct"] >= 1
    assert counted["codeqa_citations_total", "dropped"] == 1
    assert counted["codeqa_retrieval_seconds_count", ""] == 4
    assert counted["codeqa_first_token_seconds_count", ""] == 3
    assert counted["codeqa_model_seconds_count", ""] == 1
    assert counted["codeqa_running_answers", ""] == 0
    assert counted["codeqa_index_chunks", ""] == counted["codeqa_index_vectors", ""] > 0
    assert 0 <= counted["codeqa_index_age_seconds", ""] < 3_600
    assert counted["process_resident_memory_bytes", ""] > 0


def test_the_description_names_every_route_and_needs_no_other_host(api: ServedApi) -> None:
    paths = httpx.get(f"{api.url}/openapi.json").json()["paths"]
    assert set(paths) == {
        *("/v1/models", "/v1/chat/completions", "/api/search"),
        *("/healthz", "/readyz", "/metrics"),
    }
    for routes in paths.values():
        assert all(route["description"] for route in routes.values())
    assert httpx.get(f"{api.url}/docs").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:7860"}, 200),
        ({"Host": "[::1]:7860"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:7860"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "http://127.0.0.1:7860"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_pages_of_other_sites_cannot_use_a_server_on_loopback(
    api: ServedApi, headers: dict[str, str], status: int
) -> None:
    reply = httpx.post(f"{api.url}/api/search", json={"query": QUESTION}, headers=headers)
    assert reply.status_code == status
    if status != 200:
        assert reply.json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(f"{api.url}/healthz", headers=headers).status_code == 200


def test_a_host_header_that_is_missing_or_broken_is_refused(api: ServedApi) -> None:
    port = int(api.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: [::\r\nConnection: close\r\n\r\n")
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert b" 421 " in head.splitlines()[0]
    assert "localhost" in json.loads(body)["error"]["message"]


def test_a_server_for_others_answers_to_any_name(index_folder: Path) -> None:
    with serve_api(index_folder, host="0.0.0.0", access=Access(TOKEN)) as served:
        headers = {"Host": "codeqa.example", **BEARER}
        reply = httpx.get(f"{served.url}/metrics", headers=headers)
        assert reply.status_code == 200


def test_loopback_is_told_by_address_and_by_name() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "codeqa.example"))
