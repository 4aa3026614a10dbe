"""What cannot be seen in a text, made visible: escapes, reversed text, letters without a shape.

Repositories and models write what people and models then read. A terminal obeys control
characters, a browser turns text round, and a language model reads letters of the Unicode tag block
that no editor shows. Each run of those becomes one replacement character. Pure functions; they
judge no visible text, so look-alike letters stay as they are.

Source of what is hidden: Unicode 16, the property Default_Ignorable_Code_Point (DerivedCore
Properties), with the controls (Cc), the separators U+2028 and U+2029, and lone surrogates.
"""

import re

SHOWN = "\N{REPLACEMENT CHARACTER}"

_ANY = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls but tab and line ends
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
HIDDEN = re.compile(rf"(?:[{_ANY}]|\r(?!\n))+")
# One by one they belong to writing: soft hyphens, joiners of Persian and of emoji, their colour.
_HARMLESS = {"\xad", "\u200c", "\u200d", "\ufe0e", "\ufe0f", "\ufe0f\u200d"}
_BREAKS = re.compile(r"[\t\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")


def show_hidden(text: str) -> str:
    """Make what cannot be seen visible; tabs and line ends stay, and no text gets longer."""
    return HIDDEN.sub(lambda run: run[0] if run[0] in _HARMLESS else SHOWN, text)


def show_on_one_line(text: str) -> str:
    """Do the same to a name, which has no line ends either: one could begin a line of its own."""
    return show_hidden(_BREAKS.sub(SHOWN, text))
