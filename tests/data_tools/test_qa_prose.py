"""Sections of documentation answer how-to, with their example; what points elsewhere does not."""

from pathlib import Path

from tests.data_tools.qa_mining import answers, mine, write

GUIDE = """\
# Guide

## Saving a model

Call `save` with a [folder](docs/folders.md). It writes the weights and the settings of the model,
and nothing else:

```python
save(model, "folder")
```

More about that is told elsewhere, where it is of use.

## Speed

On two cores a model of that size is saved in a second, and a larger one in at most a minute.

## Steps

Next, we will go through everything that has to be done before a model can be saved at all.

## Lists

A model that was saved can be loaded by several programs, and these are the following ones of them:

- one
- two
"""
RST = """\
Loading a model
===============

Use :class:`~store.Loader` and ``load`` of it, which reads the weights that were saved before.

.. code-block:: python

    Loader().load("folder")
"""


def test_a_section_answers_with_its_beginning_and_its_example(tmp_path: Path) -> None:
    folder = write(tmp_path / "repo", {"guide.md": GUIDE, "docs/loading.rst": RST})
    found = mine(folder, "howto").pairs
    assert answers(found) == {
        "How do I save a model?": "Call `save` with a folder. It writes the weights and the "
        "settings of the model, and nothing else:\n\n"
        '```python\nsave(model, "folder")\n```'.replace("\\\n", "\n"),
        "What does `guide.md` say about “Speed”?": "On two cores a model of that size is saved in "
        "a second, and a larger one in at most a minute.",
        "How do I load a model?": "Use `Loader` and `load` of it, which reads the weights that "
        'were saved before.\n\n```python\nLoader().load("folder")\n```',
    }
    spans = {pair.question: pair.evidence[0] for pair in found}
    save = spans["How do I save a model?"]
    assert (save.start_line, save.end_line) == (5, 10)
