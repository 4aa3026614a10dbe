"""Links to lines of code at a commit, for the git hosts whose address form is known.

No link is made where it would be dead: for other hosts, plain folders, and local commits
that were never pushed there is none, and the app shows the file itself.
"""

import re
from urllib.parse import quote, urlsplit

from data_tools.languages import detect_language

# host → path between repository and file, what shows prose with its lines instead of rendered,
# line anchor; `{commit}`, `{start}` and `{end}` are filled in
_FORMS = {
    "github": ("/blob/{commit}/", "?plain=1", "#L{start}-L{end}"),
    "gitlab": ("/-/blob/{commit}/", "?plain=1", "#L{start}-{end}"),
    "bitbucket": ("/src/{commit}/", "", "#lines-{start}:{end}"),
    "codeberg": ("/src/commit/{commit}/", "?display=source", "#L{start}-L{end}"),
    "gitea": ("/src/commit/{commit}/", "?display=source", "#L{start}-L{end}"),
}
_RENDERED_LANGUAGES = ("markdown", "restructuredtext", "asciidoc")
_SCP_FORM = re.compile(r"^(?:[\w.-]+@)?(?P<host>[\w.-]+):(?P<path>.+)$")
_SSH_ALIAS = re.compile(r"^(?:alt)?ssh\.")  # hosts that take SSH on the port of HTTPS


def web_address(remote: str) -> str | None:
    """Turn a git remote's address into the repository's page.

    :param remote: `https://…`, `ssh://…` or `git@host:path`.
    :return: `https://host/owner/name`, or None where the host's link form is not known.
    """
    scp = None if "://" in remote else _SCP_FORM.match(remote)
    scheme, port = "https", ""
    if scp:
        host, path = scp["host"], scp["path"]
    else:
        try:
            parts = urlsplit(remote)
            host, path = parts.hostname or "", parts.path
            if parts.scheme in ("http", "https") and parts.port:
                scheme, port = parts.scheme, f":{parts.port}"
        except ValueError:  # a port or an address that is none
            return None
        if parts.scheme not in ("http", "https", "ssh"):
            return None
    host = _SSH_ALIAS.sub("", host)
    path = path.strip("/").removesuffix(".git")
    known = any(name in host.split(".") for name in _FORMS) and not host.startswith("gist.")
    return f"{scheme}://{host}{port}/{path}" if known and path.count("/") else None


def line_link(web_url: str, commit: str, path: str, start_line: int, end_line: int) -> str:
    """Link to lines `start_line` to `end_line` (1-based, inclusive) of `path` at `commit`.

    Notebooks get no line anchor: their lines are counted in rendered cells, not in the JSON.

    :param web_url: as `web_address` returns it; a site's first page, where there is no telling
        which of its pages `path` was, is all that can be linked to.
    """
    labels = (urlsplit(web_url).hostname or "").split(".")
    form = next((form for name, form in _FORMS.items() if name in labels), None)
    if form is None:
        return web_url
    folder, plain, anchor = form
    link = web_url + folder.format(commit=commit) + quote(path)
    if path.endswith(".ipynb"):
        return link
    language = detect_language(path)
    if language is not None and language.name in _RENDERED_LANGUAGES:
        link += plain
    return link + anchor.format(start=start_line, end=end_line)
