"""Code that strangers may put into a folder of a model, an index or a dataset.

When it is run, it makes a file, and that is all. A plant changes a folder that was whole: some lay
their code beside what is safe, some put it in its place, some name it in a setting that libraries
import from.
"""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

LIBRARY = "planted_library"  # stands for any module that can be imported
PICKLES = (
    *(
        "pytorch_model.bin",
        "adapter_model.bin",
        "training_args.bin",
        "optimizer.pt",
        "optimizer.bin",
    ),
    *(
        "scheduler.pt",
        "rng_state.pth",
        "scaler.pt",
        "index.pkl",
        "docstore.pkl",
        "python_model.pkl",
    ),
    *("model.pkl", "model.joblib", "vectors.npy", "tokenizer.pkl", "embeddings.pickle"),
)
MODULES = (
    *("modeling_planted", "configuration_planted", "tokenization_planted", "planted", "__init__"),
    *("sitecustomize", "conftest", "handler", "custom_generate/generate", "code/planted"),
)
_BREAKOUTS = (  # https://book.hacktricks.wiki/en/pentesting-web/ssti-server-side-template-injection/
    "{{ lipsum.__globals__['os'].system(COMMAND) }}",
    "{{ cycler.__init__.__globals__.os.system(COMMAND) }}",
    "{{ joiner.__init__.__globals__.os.system(COMMAND) }}",
    "{{ namespace.__init__.__globals__['os'].system(COMMAND) }}",
    "{{ self.__init__.__globals__['__builtins__']['__import__']('os').system(COMMAND) }}",
    "{% for c in ''.__class__.__mro__[1].__subclasses__() %}{% if c.__name__ == 'Popen' %}"
    "{{ c(COMMAND, shell=True).wait() }}{% endif %}{% endfor %}",
    "{{ (messages|attr('__class__'))|attr('__base__')|attr('__subclasses__')() }}"
    "{{ lipsum|attr('__globals__')|attr('get')('os')|attr('system')(COMMAND) }}",
    "{{ raise_exception.__globals__['os'].system(COMMAND) }}",
    "{{ tojson.__globals__['json'].codecs.sys.modules['os'].system(COMMAND) }}",
)


class Canary:
    """What a hostile pickle holds: loading it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


@dataclass(frozen=True)
class Plant:
    """One way to bring code into a folder.

    :param apply: is given the folder, and the file that the code makes when it is run.
    """

    name: str
    apply: Callable[[Path, Path], None]


def torch_pickle(ran: Path) -> bytes:
    """The canary as `torch.save` writes an object: a pickle in an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary(ran), protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return buffer.getvalue()


def breakouts(ran: Path) -> list[str]:
    """Chat templates that would run a command, were they not rendered in a sandbox."""
    return [template.replace("COMMAND", repr(f"touch {ran}")) for template in _BREAKOUTS]


def program(ran: Path) -> str:
    """A module that makes the file when it is imported, and holds what is asked of it."""
    return (
        f"open({str(ran)!r}, 'w').close()\n"
        "def __getattr__(name):\n"
        "    if name.startswith('__'):\n"
        "        raise AttributeError(name)\n"
        "    return type(name, (), {})\n"
    )


def model_plants(weights: str) -> Iterator[Plant]:
    """Yield plants for any model's folder.

    :param weights: the name of its file of weights.
    """
    yield Plant("pickles beside", _lay_pickles)
    yield Plant(
        "archives of torch beside", lambda folder, ran: _lay_pickles(folder, ran, archives=True)
    )
    for name in ("pytorch_model.bin", "adapter_model.bin"):
        for archive in (False, True):
            what = f"{'an archive' if archive else 'a pickle'} {name} in place of the weights"

            def replace(folder: Path, ran: Path, name: str = name, archive: bool = archive) -> None:
                (folder / weights).unlink()
                _lay(folder / name, torch_pickle(ran) if archive else pickle.dumps(Canary(ran)))

            yield Plant(what, replace)
    yield Plant(
        "a pickle that calls itself safetensors",
        lambda folder, ran: _lay(folder / weights, torch_pickle(ran)),
    )
    yield Plant(
        "an index of shards that names a pickle",
        lambda folder, ran: _name_shards(folder, ran, weights),
    )
    yield Plant("programs beside", _lay_programs)
    yield Plant("a model of MLflow with a loader", _lay_mlflow)
    auto = {
        "AutoConfig": "planted.Planted",
        "AutoModel": "planted.Planted",
        "AutoModelForCausalLM": "planted.Planted",
    }
    yield _setting("config.json", {"auto_map": auto})
    yield _setting("config.json", {"auto_map": auto, "model_type": "planted"})
    yield _setting(
        "config.json",
        {"auto_map": auto, "architectures": ["planted.Planted"], "trust_remote_code": True},
    )
    yield _setting(
        "config.json",
        {
            "_attn_implementation": f"{LIBRARY}/kernel",
            "attn_implementation": f"{LIBRARY}/kernel",
            "use_kernels": True,
        },
    )
    yield _setting(
        "config.json",
        {"quantization_config": {"quant_method": LIBRARY, "modules_to_not_convert": [LIBRARY]}},
    )
    yield Plant("config.json names a pickle as weights", _name_weights)
    yield _setting(
        "tokenizer_config.json",
        {"auto_map": {"AutoTokenizer": ["planted.Planted", "planted.Planted"]}},
    )
    yield _setting(
        "tokenizer_config.json",
        {"auto_map": {"AutoTokenizer": ["planted.Planted", None]}, "tokenizer_class": "Planted"},
    )
    yield _setting(
        "generation_config.json", {"custom_generate": "custom_generate", "trust_remote_code": True}
    )


def encoder_plants() -> Iterator[Plant]:
    """Yield plants for the folder of an embedding model."""
    for kind in (
        "os.system",
        "subprocess.Popen",
        f"{LIBRARY}.Planted",
        "planted.Planted",
        "builtins.exec",
    ):
        yield Plant(
            f"modules.json names {kind}",
            partial(_name_module, kind=kind),
        )
        yield Plant(
            f"router_config.json names {kind}",
            partial(_name_route, kind=kind),
        )
    for function in (
        f"{LIBRARY}.Planted",
        f"torch.{LIBRARY}",
        "os.abort",
        "torch.os.abort",
        "torch.hub.os.abort",
    ):
        yield Plant(
            f"a layer whose activation is {function}",
            partial(_name_activation, function=function),
        )
    trusting = {
        "trust_remote_code": True,
        "weights_only": False,
        "use_safetensors": False,
        "allow_all_kernels": True,
        "attn_implementation": f"{LIBRARY}/kernel",
    }
    for key in ("model_args", "model_kwargs", "config_args", "tokenizer_args"):
        yield _setting("sentence_bert_config.json", {key: trusting})
        yield Plant(
            f"sentence_bert_config.json trusts by {key}, and the weights are a pickle",
            partial(_trust, values={key: trusting}),
        )


def adapter_plants() -> Iterator[Plant]:
    """Yield plants for the folder of an adapter."""
    mapping = {"base_model_class": "Planted", "parent_library": LIBRARY}
    yield _setting("adapter_config.json", {"auto_mapping": mapping, "task_type": None})
    yield _setting("adapter_config.json", {"megatron_config": {"x": 1}, "megatron_core": LIBRARY})
    yield _setting("adapter_config.json", {"peft_type": LIBRARY})
    yield _setting(
        "adapter_config.json",
        {"runtime_config": {"trust": LIBRARY}, "loftq_config": {"module": LIBRARY}},
    )


def _setting(file: str, values: Mapping[str, Any]) -> Plant:
    def apply(folder: Path, ran: Path) -> None:
        _lay_programs(folder, ran)
        place = folder / file
        known = json.loads(place.read_text("utf-8")) if place.is_file() else {}
        place.write_text(json.dumps({**known, **values}), "utf-8")

    return Plant(f"{file} says {json.dumps(values)}", apply)


def _lay(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_bytes(content)


def _lay_pickles(folder: Path, ran: Path, *, archives: bool = False) -> None:
    for name in PICKLES:
        _lay(folder / name, torch_pickle(ran) if archives else pickle.dumps(Canary(ran)))


def _lay_programs(folder: Path, ran: Path) -> None:
    for name in MODULES:
        _lay(folder / f"{name}.py", program(ran).encode())
    _lay(folder / "requirements.txt", b"planted-package @ file:///nowhere\n")


def _lay_mlflow(folder: Path, ran: Path) -> None:
    _lay_programs(folder, ran)
    _lay(folder / "python_model.pkl", pickle.dumps(Canary(ran)))
    flavour = {"loader_module": "planted", "python_model": "python_model.pkl", "code": "code"}
    description = {"flavors": {"python_function": flavour}, "model_uuid": "0" * 32}
    _lay(folder / "MLmodel", json.dumps(description).encode())


def _name_weights(folder: Path, ran: Path) -> None:
    _setting("config.json", {"transformers_weights": "adapter_model.bin"}).apply(folder, ran)
    _lay(folder / "adapter_model.bin", torch_pickle(ran))


def _name_shards(folder: Path, ran: Path, weights: str) -> None:
    _lay(folder / "pytorch_model-00001-of-00001.bin", torch_pickle(ran))
    for name in ("pytorch_model.bin.index.json", f"{weights}.index.json"):
        index = {"metadata": {}, "weight_map": {"x": "pytorch_model-00001-of-00001.bin"}}
        _lay(folder / name, json.dumps(index).encode())


def _name_module(folder: Path, ran: Path, kind: str) -> None:
    _lay_programs(folder, ran)
    file = folder / "modules.json"
    modules = json.loads(file.read_text("utf-8"))
    modules.append({"idx": len(modules), "name": "planted", "path": "", "type": kind})
    file.write_text(json.dumps(modules), "utf-8")


def _name_route(folder: Path, ran: Path, kind: str) -> None:
    _name_module(folder, ran, "sentence_transformers.base.modules.router.Router")
    routes = {"types": {"planted": kind}, "structure": {"query": ["planted"]}, "parameters": {}}
    for name in ("router_config.json", "config.json"):
        file = folder / name
        known = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        file.write_text(json.dumps({**known, **routes}), "utf-8")


def _name_activation(folder: Path, ran: Path, function: str) -> None:
    _lay_programs(folder, ran)
    file = folder / "modules.json"
    modules = json.loads(file.read_text("utf-8"))
    kind = "sentence_transformers.base.modules.dense.Dense"
    modules.append({"idx": len(modules), "name": "planted", "path": "9_Dense", "type": kind})
    file.write_text(json.dumps(modules), "utf-8")
    settings = {"in_features": 384, "out_features": 8, "activation_function": function}
    _lay(folder / "9_Dense/config.json", json.dumps(settings).encode())
    _lay(folder / "9_Dense/pytorch_model.bin", torch_pickle(ran))


def _trust(folder: Path, ran: Path, values: Mapping[str, Any]) -> None:
    _setting("sentence_bert_config.json", values).apply(folder, ran)
    (folder / "model.safetensors").unlink()
    _lay(folder / "pytorch_model.bin", torch_pickle(ran))
