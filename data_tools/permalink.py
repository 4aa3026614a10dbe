"""Links to lines of code at a commit, for the git hosts whose address form is known.

No link is made where it would be dead: for other hosts, plain folders, and local commits
that were never pushed there is none, and the app shows the file itself.
"""

import re
from urllib.parse import quote, urlsplit

# host → (path between repository and file, line anchor); `{commit}`, `{start}`, `{end}` are filled
_FORMS = {
    "github": ("/blob/{commit}/", "#L{start}-L{end}"),
    "gitlab": ("/-/blob/{commit}/", "#L{start}-{end}"),
    "bitbucket": ("/src/{commit}/", "#lines-{start}:{end}"),
    "codeberg": ("/src/commit/{commit}/", "#L{start}-L{end}"),
    "gitea": ("/src/commit/{commit}/", "#L{start}-L{end}"),
}
_SCP_FORM = re.compile(r"^(?:[\w.-]+@)?(?P<host>[\w.-]+):(?P<path>[^/].*)$")


def web_address(remote: str) -> str | None:
    """Turn a git remote's address into the repository's page.

    :param remote: `https://…`, `ssh://…` or `git@host:path`.
    :return: `https://host/owner/name`, or None where the host's link form is not known.
    """
    scp = None if "://" in remote else _SCP_FORM.match(remote)
    if scp:
        host, path = scp["host"], scp["path"]
    else:
        parts = urlsplit(remote)
        if parts.scheme not in ("http", "https", "ssh") or not parts.hostname:
            return None
        host, path = parts.hostname, parts.path
    path = path.strip("/").removesuffix(".git")
    known = any(name in host.split(".") for name in _FORMS)
    return f"https://{host}/{path}" if known and path else None


def line_link(web_url: str, commit: str, path: str, start_line: int, end_line: int) -> str:
    """Link to lines `start_line` to `end_line` (1-based, inclusive) of `path` at `commit`.

    Notebooks get no line anchor: their lines are counted in rendered cells, not in the JSON.

    :param web_url: as `web_address` returns it.
    """
    labels = (urlsplit(web_url).hostname or "").split(".")
    folder, anchor = next(form for name, form in _FORMS.items() if name in labels)
    link = web_url + folder.format(commit=commit) + quote(path)
    return link if path.endswith(".ipynb") else link + anchor.format(start=start_line, end=end_line)
