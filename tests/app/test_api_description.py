"""The API keeps to its own description, whatever it is sent: schemathesis makes the requests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.access import Access
from tests.app.api_helpers import serve_api
from tests.app.guarded import ANY_HOST, BEARER, TOKEN

EXAMPLES = 20  # of each operation, as described and otherwise
OPERATIONS = [
    *(("GET", "/api/search"), ("POST", "/api/search"), ("POST", "/v1/chat/completions")),
    *(("GET", "/v1/models"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")),
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def description(index_folder: Path) -> Iterator[schemathesis.BaseSchema]:
    with serve_api(index_folder, host=ANY_HOST, access=Access(TOKEN)) as served:
        yield schemathesis.openapi.from_url(f"{served.url}/openapi.json", headers=BEARER)


def test_every_operation_is_tried(description: schemathesis.BaseSchema) -> None:
    found = [result for result in description.get_all_operations() if isinstance(result, Ok)]
    operations = [result.ok() for result in found]
    assert {(each.method.upper(), each.path) for each in operations} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS]
    + [(*operation, GenerationMode.NEGATIVE) for operation in OPERATIONS[:3]],
)
def test_every_reply_is_as_described_and_none_is_a_fault(
    description: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    @settings(
        max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(description[path][method].as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS, headers=BEARER)

    check()
