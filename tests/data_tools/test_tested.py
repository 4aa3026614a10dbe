"""What tests test, by the names that they call."""

from data_tools.docstrings import Definition, find_definitions
from data_tools.sources import SourceFile
from data_tools.tested import NamedTest, find_tested, split_name

CODE = """\
class EarlyStopper:
    def step(self): ...
def load_state(path): ...
def save_state(path): ...
"""


def define(text: str, path: str) -> tuple[SourceFile, list[Definition]]:
    file = SourceFile("repo", "c" * 40, path, "python", text, "0" * 64)
    return file, find_definitions(file)


def find(test: str) -> list[NamedTest]:
    candidates = {each.name: each for each in define(CODE, "code.py")[1]}
    return list(find_tested(*define(test, "tests/test_code.py"), candidates))


def test_a_test_asks_for_what_it_calls_and_is_named_after() -> None:
    (found,) = find(
        "@mark\ndef test_early_stopper_stops_after_patience():\n"
        "    state = load_state('a')\n    EarlyStopper(state).step()\n"
    )
    assert found.query == "early stopper stops after patience"
    assert found.tested.symbol == "EarlyStopper"
    assert found.first_line == 2


def test_a_test_that_leaves_open_what_it_tests_is_left_out() -> None:
    assert find("def test_state_of_empty_box():\n    load_state(save_state('a'))\n") == []
    assert find("def test_a_lid_shuts_again():\n    load_state('a')\n") == []


def test_one_word_in_common_is_enough_only_at_the_beginning() -> None:
    assert [each.tested.name for each in find("def test_step_by_step_again():\n    step()\n")] == [
        "step"
    ]
    assert find("def test_every_single_step_counts():\n    step()\n") == []


def test_a_test_that_says_no_more_than_the_name_is_left_out() -> None:
    assert find("def test_the_early_stopper_works():\n    EarlyStopper()\n") == []
    assert find("def test_early_stopper():\n    EarlyStopper()\n") == []


def test_what_is_no_test_is_left_out() -> None:
    assert find("def make_early_stopper_with_patience():\n    EarlyStopper()\n") == []


def test_names_are_split_into_their_words() -> None:
    assert split_name("HTTPServer_getURLTwice") == ["http", "server", "get", "url", "twice"]
    assert split_name("conv2d_s3_1d") == ["conv2d", "s3", "1d"]
