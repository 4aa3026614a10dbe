"""The list of kept conversations, as HTML. Pure functions; every name is escaped."""

import time
from collections.abc import Sequence
from datetime import datetime
from html import escape

from app.evidence import count_of
from app.history import ConversationRecord

DAY_S = 86_400


def conversations_html(
    records: Sequence[ConversationRecord], query: str = "", *, now_s: float | None = None
) -> str:
    """Render the list, newest first, as it comes.

    :param query: what was searched for.
    :param now_s: seconds since 1970; by default it is now.
    """
    if not records:
        text = f"No conversation holds “{escape(query)}”." if query.strip() else "None yet."
        return f'<p class="none">{text}</p>'
    now_s = time.time() if now_s is None else now_s
    items = "".join(
        f'<li><a href="?conversation={escape(record.id)}" data-conversation="{escape(record.id)}">'
        f'<span class="name">{escape(record.name)}</span><span class="when">'
        f"{_say_when(record.updated_at, now_s)} · {count_of(record.exchanges, 'question')}</span>"
        "</a></li>"
        for record in records
    )
    return f"<ul>{items}</ul>"


def _say_when(then_s: float, now_s: float) -> str:
    then = datetime.fromtimestamp(then_s)
    days = (datetime.fromtimestamp(now_s).date() - then.date()).days
    if days <= 0:
        return f"{then:%H:%M}"
    if days == 1:
        return "yesterday"
    return f"{then.day} {then:%b}" if now_s - then_s < 300 * DAY_S else f"{then.day} {then:%b %Y}"
