"""Columns become a question and its answer; what is no template is refused."""

from collections.abc import Mapping

import pytest

from data_tools.errors import ConfigError, DatasetError
from training.templates import Template, columns_in, fill, find_template, shipped_templates

SQL = {"question": "How many?", "schema": "CREATE TABLE t (id INTEGER)", "sql": "SELECT 1;"}


def contents(template: Template, row: Mapping[str, object]) -> list[str]:
    conversation = fill(template, row, "row 1")
    assert conversation is not None
    return [message["content"] for message in conversation.messages]


def test_a_row_becomes_a_system_message_a_question_and_an_answer() -> None:
    conversation = fill(find_template("english_to_sql"), SQL, "row 1")
    assert conversation is not None
    assert [message["role"] for message in conversation.messages] == ["system", "user", "assistant"]
    assert conversation.messages[1]["content"] == f"{SQL['schema']}\n\nQuestion: How many?"
    assert conversation.messages[2]["content"] == "SELECT 1;"
    assert conversation.prompt_messages == 2


def test_a_paragraph_whose_columns_are_empty_is_left_out() -> None:
    row = {"instruction": "Name a river.", "context": None, "response": "The Amber."}
    assert contents(find_template("instruction"), row) == ["Name a river.", "The Amber."]


def test_braces_in_a_value_are_no_template() -> None:
    template = find_template({"prompt": "{a}", "completion": "{{literal}} {b}"})
    assert contents(template, {"a": "{b} {c}", "b": 7}) == ["{b} {c}", "{literal} 7"]


def test_indentation_of_a_value_stays() -> None:
    template = find_template({"prompt": "Write it.", "completion": "{code}"})
    assert contents(template, {"code": "    return 1\n"}) == ["Write it.", "    return 1"]


def test_a_row_without_question_or_answer_is_no_conversation() -> None:
    assert fill(find_template("response"), {"prompt": "Why?", "response": ""}, "row 1") is None


def test_a_missing_column_is_named_with_those_that_are_there() -> None:
    with pytest.raises(DatasetError, match=r"row 1 has no column `schema`.*has query, answer"):
        fill(find_template("english_to_sql"), {"query": "a", "answer": "b"}, "row 1")


def test_a_column_that_holds_a_list_is_refused() -> None:
    with pytest.raises(DatasetError, match="column `sql` holds list, not text"):
        fill(find_template("english_to_sql"), SQL | {"sql": ["SELECT 1;"]}, "row 1")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"prompt": "{a.__class__}", "completion": "b"}, "is not a column's name"),
        ({"prompt": "{a[0]}", "completion": "b"}, "is not a column's name"),
        ({"prompt": "{a!r}", "completion": "b"}, "is not a column's name"),
        ({"prompt": "{0}", "completion": "b"}, "is not a column's name"),
        ({"prompt": "{a", "completion": "b"}, "braces"),
        ({"prompt": "a", "completion": "b"}, "names no column"),
        ({"prompt": "{a}", "completion": "{b}", "sytem": "c"}, "did you mean `system`"),
        ({"prompt": "{a}"}, "`completion` is missing"),
    ],
)
def test_a_template_that_is_none_is_refused(keys: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_template(keys)


def test_an_unknown_name_lists_the_shipped_templates() -> None:
    with pytest.raises(ConfigError, match="no template `sql`; give one of instruction, alpaca"):
        find_template("sql")


def test_every_shipped_template_names_its_columns() -> None:
    columns = {
        name: columns_in(template.system, template.prompt, template.completion)
        for name, template in shipped_templates().items()
    }
    assert columns == {
        "instruction": ["instruction", "context", "response"],
        "alpaca": ["instruction", "input", "output"],
        "response": ["prompt", "response"],
        "english_to_sql": ["schema", "question", "sql"],
        "neutral_rewriting": ["toxic", "neutral"],
    }
