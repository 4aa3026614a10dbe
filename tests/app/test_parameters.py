"""`--parameters FILE` stands for what the file holds."""

from pathlib import Path

import pytest

from app.cli import main, make_parser
from app.parameters import expand_parameters


def expand(text: str, *words: str, folder: Path) -> list[str]:
    """The command line, with `FILE` for a file that holds `text`."""
    file = folder / "parameters.yaml"
    file.write_text(text)
    given = [word.replace("FILE", str(file)) for word in words]
    return expand_parameters(make_parser(), given)


def test_keys_become_options_and_arguments(tmp_path: Path) -> None:
    text = "repos: [a, b]\nout: model\nminutes: 2.5\nforce: true\njson: false\n"
    words = expand(text, "tune-retriever", "--parameters", "FILE", folder=tmp_path)
    assert words == ["tune-retriever", "a", "b", "--out=model", "--minutes=2.5", "--force"]
    options = make_parser().parse_args(words)
    assert (options.repos, options.minutes, options.json) == (["a", "b"], 2.5, False)


def test_the_command_line_counts_more(tmp_path: Path) -> None:
    words = ["tune-retriever", "a", "--out", "mine", "--parameters=FILE"]
    assert expand("out: model\nseed: 3\n", *words, folder=tmp_path) == [
        *["tune-retriever", "a", "--out", "mine", "--seed=3"]
    ]


def test_options_may_be_of_a_key_of_the_file(tmp_path: Path) -> None:
    text = "flatten: {out: corpus}\nother: {out: x}\n"
    words = expand(text, "flatten", ".", "--parameters", "FILE#flatten", folder=tmp_path)
    assert words == ["flatten", ".", "--out=corpus"]


def test_arguments_stand_in_their_order_after_those_of_the_command_line(tmp_path: Path) -> None:
    text = "out: shards\nsources: [a, b]\nshares: [0.8, 0.1, 0.1]\ntokenizer: t\n"
    given = ["convert", "txt", "--parameters", "FILE", "--no-wrap"]
    words = expand(text, *given, folder=tmp_path)
    assert words == [
        *["convert", "txt", "a", "b", "--no-wrap", "--out=shards"],
        *["--shares", "0.8", "0.1", "0.1", "--tokenizer=t"],
    ]
    options = make_parser().parse_args(words)
    assert (options.form, options.sources, options.wrap) == ("txt", ["a", "b"], False)


def test_an_option_that_may_recur_is_given_once_for_each(tmp_path: Path) -> None:
    text = "question: where?\nlanguage: [python, rust]\n"
    words = expand(text, "search", "--parameters", "FILE", folder=tmp_path)
    assert words == ["search", "where?", "--language=python", "--language=rust"]


def test_commands_of_commands_are_found(tmp_path: Path) -> None:
    text = "questions: q.jsonl\nindex: i\n"
    words = expand(text, "eval", "retrieval", "--parameters", "FILE", folder=tmp_path)
    assert words == ["eval", "retrieval", "--questions=q.jsonl", "--index=i"]


def test_without_the_option_nothing_changes() -> None:
    assert expand_parameters(make_parser(), ["index", "."]) == ["index", "."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mintues: 3", "takes no `mintues`; did you mean `minutes`?"),
        ("force: 3", "`force` must be true or false, not 3"),
        ("minutes: {a: 1}", "`minutes` must be a text or a number"),
        ("- a", "must hold keys and values"),
        ("help: true", "takes no `help`"),
    ],
)
def test_what_is_wrong_is_named_on_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text)
    assert main(["tune-retriever", "--parameters", str(file)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_file_or_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.yaml"
    assert main(["flatten", "--parameters", str(file)]) == 1
    assert "p.yaml" in capsys.readouterr().err
    file.write_text("a: {out: x}\n")
    assert main(["flatten", "--parameters", f"{file}#b"]) == 1
    assert "has no keys and values at `b`" in capsys.readouterr().err


def test_the_option_without_a_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["flatten", "--parameters"])
    assert "--parameters" in capsys.readouterr().err
