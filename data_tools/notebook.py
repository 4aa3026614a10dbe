"""A Jupyter notebook as readable text: its cells in order, not its JSON.

Line numbers of a notebook count the lines of this text. Outputs are left out: they are
results, often large, and often images.
"""

import json
import warnings


def render_notebook(raw: str) -> str:
    """Render a notebook as Markdown: prose cells as they are, code cells in fences.

    :param raw: the `.ipynb` file's JSON, of any notebook format.
    :raises ValueError: `raw` is not a notebook.
    """
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice on missing cell ids
            notebook = nbformat.reads(raw, as_version=4)
        language = notebook.metadata.get("language_info", {}).get("name", "python")
        cells = [(cell.cell_type, cell.source.rstrip("\n")) for cell in notebook.cells]
    except (AttributeError, TypeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"not a notebook: {error}") from error
    except Exception as error:  # nbformat's own errors share no base class
        if type(error).__module__.startswith(("nbformat", "jsonschema")):
            raise ValueError(f"not a notebook: {error}") from error
        raise
    parts = [
        f"```{language}\n{source}\n```" if kind == "code" else source
        for kind, source in cells
        if source.strip()
    ]
    return "\n\n".join(parts) + "\n" if parts else ""
