"""What an exported folder says of itself, for people: a Hugging Face model card of facts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.export_source import Source

CARD = "README.md"
_SHOWN_HASH = 12  # hex digits


def write_card(folder: Path, name: str, source: Source, facts: Mapping[str, Any]) -> None:
    """Write `README.md` into an exported folder.

    :param name: what the folder will be called.
    :param facts: what `codeqa.json` holds.
    """
    rows = {
        "objective": facts.get("objective"),
        "method": facts.get("method"),
        "base model": _code(facts.get("base")),
        "base weights, SHA-256": _short(facts.get("base_sha256")),
        "datasets": ", ".join(map(_code, facts.get("datasets", []))),
        "checkpoint of step": source.step,
        "seed": facts.get("seed"),
        "weights, SHA-256": _short(facts["weights_sha256"]),
        "numbers": facts.get("dtype"),
        "chat template, SHA-256": _short(facts.get("template_sha256")),
        "codeqa": facts.get("versions", {}).get("codeqa"),
        "commit of codeqa": _short(facts.get("commit")),
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items() if value or value == 0)
    (folder / CARD).write_text(
        f"""---
{_front_matter(source, facts)}---

# {name}

{_describe(facts)}

| | |
|---|---|
{table}

Everything else is in `codeqa.json`. How good it is, `codeqa eval model THIS_FOLDER` measures.
""",
        "utf-8",
    )


def _describe(facts: Mapping[str, Any]) -> str:
    use = "Use it with `codeqa chat --llm THIS_FOLDER`, or with vLLM."
    base = _code(facts.get("base") or "its base")
    if facts["kind"] == "adapter":
        return f"A LoRA adapter for {base}, tuned by `codeqa train`. {use}"
    if facts["merged"]:
        return (
            f"{base} with a LoRA adapter merged into it, tuned by `codeqa train`. No logit of a "
            f"probe text differs by more than {facts['max_logit_difference']:.1e} from the base "
            f"with the adapter, in float32. {use}"
        )
    return f"A model trained by `codeqa train`. {use}"


def _front_matter(source: Source, facts: Mapping[str, Any]) -> str:
    base = facts.get("base")
    lines = ["library_name: " + ("peft" if facts["kind"] == "adapter" else "transformers")]
    lines += ["pipeline_tag: text-generation", "tags: [codeqa]"]
    if base and base.count("/") == 1 and not Path(base).exists():  # a name on the hub
        relation = "adapter" if facts["kind"] == "adapter" else "finetune"
        lines += [f"base_model: {base}", f"base_model_relation: {relation}"]
    return "".join(f"{line}\n" for line in lines)


def _code(value: object) -> str:
    return f"`{value}`" if value else ""


def _short(value: object) -> str:
    return f"`{str(value)[:_SHOWN_HASH]}`" if value else ""
