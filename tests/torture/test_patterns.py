"""No regular expression of the product takes long on a line that was made for it to."""

import re

import pytest

from tests.torture.attacks import Attack, find_patterns, make_attacks, time_search
from tests.torture.conftest import Cases, Tally

PACKAGES = ("data_tools", "retrieval", "app")
MAX_CHARS = 5_000  # as long as a line that is read may be
SLOW_S = 0.25  # on a machine that does other things at once; an expression in good order takes 1 ms
SUSPECT_S = 0.002  # on a tenth of it
# Used from the start of a short text alone, or on what the user typed: where it may be slow.
BOUNDED = {
    "app.conversation_markdown._HARMLESS_LINK": "matched at the start of an address alone",
    "app.examples._UNTELLING": "matched at the start of a name alone",
    "app.vllm_log._ERROR": "on the log of a server that codeqa started",
    "app.checked_text._OPEN_CODE": "matched at the start of a line alone, and gives nothing back",
    "app.claims._BLOCK_START": "matched at the start of a line alone",
    "app.claims._FOLDER": "matched against the whole of a name alone",
    "app.claims._HUMPS": "matched against the whole of a name alone",
    "data_tools.docs_markdown._SILENT_CLASS": "on 300 characters",
    "data_tools.git_access._SSH_ALONE": "matched at the start of an address alone",
    "data_tools.git_address._AUTHORITY": "matched against the whole of an address alone",
    "data_tools.git_address._SSH_LOGIN": "matched against the whole of a login alone",
    "data_tools.history._SUFFIX": "on 200 characters, whose spaces are single",
    "data_tools.qa_places._DUNDER": "matched at the start of a name alone",
    "data_tools.qa_parameters._FIELD": "matched at the start of a line alone",
    "data_tools.qa_parameters._ENTRY": "matched at the start of a line alone",
    "retrieval.prompt._LABEL": "matched against the whole of a line alone",
    "retrieval.prompt._NUMBERED": "matched at the start of a line alone",
    "retrieval.questions._RESULT": "matched against the whole of a name alone",
}

ONCE_SLOW = (
    "app.checked_text._UNDECIDED",
    "app.claims._SPAN",
    "app.repositories_html._NUMBERS",
    "data_tools.docstrings._COMMENT_MARKS",
    "data_tools.headings._ATX",
    "data_tools.qa_parameters._DEFAULT",
    "data_tools.qa_parameters._ROLE",
    "retrieval.citations._SPACE_BEFORE",
)


@pytest.mark.filterwarnings("ignore")  # of libraries that are imported for their patterns
def test_every_regular_expression_is_done_in_time(cases: Cases, tally: Tally) -> None:
    patterns = list(find_patterns(*PACKAGES))
    assert len(patterns) > 150
    chosen = [*patterns[:: cases(15, 1)], *(each for each in patterns if each[0] in ONCE_SLOW)]
    limit = cases(10, 60)  # attacks on each
    slow: dict[str, tuple[float, Attack]] = {}
    tried = 0
    for name, pattern in dict(chosen).items():
        attacks = [] if name in BOUNDED else make_attacks(pattern)
        for attack in attacks[:: 1 + len(attacks) // limit]:
            tried += 1
            took = time_line(pattern, attack)
            if took > SLOW_S:
                slow[name] = (took, attack)
                break
    assert not slow, slow
    tally("regular expressions", patterns=len(chosen), attacks=tried, slow=len(slow))


def time_line(pattern: re.Pattern[str], attack: Attack) -> float:
    """Return how long a whole line takes, in seconds; guessed where little tells.

    What doubles with each letter would not end on a whole line, so lines grow by few letters first;
    what takes as long on little as it should on all is looked at closer.
    """
    for chars in (*range(16, 61, 4), 600):
        took = time_search(pattern, attack.text(chars))
        if took > SLOW_S:
            return took
    return time_search(pattern, attack.text(MAX_CHARS)) if took > SUSPECT_S else took


def test_a_pattern_that_is_slow_is_found() -> None:
    for slow in (r"(a+)+b", r"(?:\w+\s*)+:"):
        pattern = re.compile(slow)
        assert any(time_line(pattern, attack) > SLOW_S for attack in make_attacks(pattern))


def test_what_is_bounded_still_exists() -> None:
    assert {*BOUNDED, *ONCE_SLOW} <= {name for name, _ in find_patterns(*PACKAGES)}
