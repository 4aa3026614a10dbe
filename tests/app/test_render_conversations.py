"""The list of kept conversations."""

from datetime import datetime

import pytest

from app.history import ConversationRecord
from app.render_conversations import conversations_html

NOW = datetime(2026, 11, 22, 12, 0).timestamp()


def make(updated_at: float) -> str:
    record = ConversationRecord('a"b', "What is <b>?", updated_at, updated_at, 2)
    return conversations_html([record], now_s=NOW)


def test_names_are_escaped_and_lead_to_their_conversation() -> None:
    html = make(NOW)
    assert 'href="?conversation=a&quot;b"' in html
    assert "What is &lt;b&gt;?" in html
    assert "2 questions" in html


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (datetime(2026, 11, 22, 9, 5), "09:05"),
        (datetime(2026, 11, 21, 23, 59), "yesterday"),
        (datetime(2026, 11, 3), "3 Nov ·"),
        (datetime(2025, 3, 9), "9 Mar 2025"),
    ],
)
def test_the_time_is_said_as_people_say_it(when: datetime, said: str) -> None:
    assert said in make(when.timestamp())


def test_an_empty_list_says_why() -> None:
    assert "None yet" in conversations_html([])
    assert "“&lt;x&gt;”" in conversations_html([], "<x>")
