"""A Jupyter notebook as readable text: its cells in order, not its JSON.

Line numbers of a notebook count the lines of this text. Outputs are left out: they are
results, often large, and often images. The JSON is read leniently, of format 3 and 4: a
notebook that a strict reader refuses for want of a field still has cells worth reading.
"""

import json
from collections.abc import Iterator


def render_notebook(raw: str) -> str:
    """Render a notebook as Markdown: prose cells as they are, code cells in fences.

    :param raw: the `.ipynb` file's JSON.
    :raises ValueError: `raw` is not a notebook.
    """
    try:
        notebook = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a notebook: {error}") from error
    cells = _cells(notebook)
    language = _language(notebook)
    parts = [part for cell in cells for part in _render_cell(cell, language)]
    text = "\n\n".join(parts) + "\n" if parts else ""
    # JSON can name half a character, which no file can hold.
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _cells(notebook: object) -> list[object]:
    if isinstance(notebook, dict):
        sheets = notebook.get("worksheets")  # of format 3
        holders = [notebook, *(sheets if isinstance(sheets, list) else ())]
        lists = [holder.get("cells") for holder in holders if isinstance(holder, dict)]
        cells = [part for part in lists if isinstance(part, list)]
        if cells:
            return [cell for part in cells for cell in part]
    raise ValueError("not a notebook: it has no cells")


def _language(notebook: object) -> str:
    """Name the language of a notebook's code, as a fence takes it."""
    metadata = notebook.get("metadata") if isinstance(notebook, dict) else None
    for key, field in (("language_info", "name"), ("kernelspec", "language")):
        part = metadata.get(key) if isinstance(metadata, dict) else None
        name = part.get(field) if isinstance(part, dict) else None
        if isinstance(name, str) and name.isprintable():
            return name
    return "python"


def _render_cell(cell: object, language: str) -> Iterator[str]:
    if not isinstance(cell, dict):
        return
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str) or not source.strip():
        return
    source = source.replace("\r\n", "\n").rstrip("\n")
    if cell.get("cell_type") == "code":
        fence = "`````" if "```" in source else "```"
        yield f"{fence}{language}\n{source}\n{fence}"
    elif cell.get("cell_type") == "heading" and isinstance(cell.get("level"), int):
        yield f"{'#' * min(max(cell['level'], 1), 6)} {source}"
    else:
        yield source
