"""The page's fixed HTML: places that `web.js` fills, and the dialog that asks back.

What depends on the index, the models or a conversation is not here.
"""

from app.icons import icon

HINT = "Enter sends, Shift+Enter starts a new line"


def skeleton_html() -> str:
    """Return the whole page, empty."""
    return (
        '<a class="skip" href="#ask">Skip to the question</a>'
        '<div id="header"><header class="masthead"><h1>codeqa</h1></header></div>'
        '<div id="banner"></div>'
        f'<div id="columns">{_CONVERSATIONS}{_TALK}'
        '<aside id="side" aria-label="Evidence"><div id="evidence"></div></aside></div>'
        f'<p id="live" class="hidden" role="status" aria-live="polite"></p>{_DIALOG}'
    )


_CONVERSATIONS = (
    '<nav id="conversations" aria-label="Conversations" hidden>'
    '<div class="top"><button type="button" class="plain" id="anew">New conversation</button>'
    f'<button type="button" class="quiet" id="fold" aria-label="Close the list">{icon("close")}'
    "</button></div>"
    '<label class="hidden" for="search">Search conversations</label>'
    '<input id="search" type="search" placeholder="Search conversations" autocomplete="off">'
    '<div id="kept"></div></nav>'
)

_TALK = (
    '<section id="talk" aria-label="Questions and answers">'
    '<div id="title" hidden><h2></h2><span class="actions">'
    '<button type="button" data-do="rename">Rename</button>'
    '<button type="button" data-do="export">Export</button>'
    '<button type="button" data-do="delete">Delete</button></span></div>'
    '<div id="messages" aria-label="Conversation" role="log" aria-live="off" tabindex="0">'
    '<div id="welcome"></div><div id="exchanges"></div></div>'
    '<p id="complaint" class="problem" role="alert" hidden></p>'
    '<form id="question"><p id="editing" hidden>What you send takes the place of that question '
    'and of all that follows it. <button type="button" data-do="keep">Leave it</button></p>'
    '<div class="input-container"><label class="hidden" for="ask">Your question</label>'
    f'<textarea id="ask" rows="1" title="{HINT}" placeholder="Ask about the code" '
    'aria-describedby="cost hint" autocomplete="off" disabled></textarea>'
    '<button type="submit" class="submit-button">Ask</button>'
    '<button type="button" class="stop-button" hidden>Stop</button></div>'
    '<div id="tools"><div id="choices"></div>'
    '<p id="cost" aria-live="polite"></p>'
    f'<p id="hint" class="hidden">{HINT}</p></div></form></section>'
)

_DIALOG = (
    '<dialog id="dialog" aria-labelledby="dialog-title"><form method="dialog">'
    '<h2 id="dialog-title"></h2><p></p><input name="value" maxlength="200" autocomplete="off">'
    '<div class="buttons"><button type="button" data-do="cancel">Cancel</button>'
    '<button value="ok" type="submit" class="strong"></button></div></form></dialog>'
)
