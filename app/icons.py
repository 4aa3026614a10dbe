"""The page's few icons, drawn here: nothing is loaded from elsewhere."""

_PATHS = {
    "edit": "M11.5 2.5l2 2L6 12l-3 1 1-3z",
    "up": "M2.5 7.5h2v6h-2zM4.5 8l3-5.5c1.2 0 1.8 1 1.5 2L8.4 7h4.1c.8 0 1.3.7 1.1 1.4l-1.2 "
    "4.2c-.1.6-.6.9-1.1.9H4.5",
    "down": "M2.5 2.5h2v6h-2zM4.5 8l3 5.5c1.2 0 1.8-1 1.5-2L8.4 9h4.1c.8 0 1.3-.7 "
    "1.1-1.4l-1.2-4.2c-.1-.6-.6-.9-1.1-.9H4.5",
    "menu": "M2.5 4h11M2.5 8h11M2.5 12h11",
    "close": "M4 4l8 8M12 4l-8 8",
}


def icon(name: str) -> str:
    """Return an icon as SVG in the colour of the text; the button around it needs a label."""
    return (
        '<svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" '
        'stroke="currentColor" stroke-width="1.3" stroke-linejoin="round" '
        f'stroke-linecap="round" aria-hidden="true"><path d="{_PATHS[name]}"/></svg>'
    )
