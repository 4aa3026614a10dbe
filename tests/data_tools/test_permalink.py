"""Links to lines, for the hosts whose form is known."""

import pytest

from data_tools.permalink import line_link, web_address

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/acme/limits", "https://github.com/acme/limits"),
        ("https://github.com/acme/limits.git", "https://github.com/acme/limits"),
        ("https://ada:pw@github.com/acme/limits/", "https://github.com/acme/limits"),
        ("http://github.com/acme/limits", "https://github.com/acme/limits"),
        ("git@github.com:acme/limits.git", "https://github.com/acme/limits"),
        ("git@github.com:/acme/limits.git", "https://github.com/acme/limits"),
        ("github.com:acme/limits", "https://github.com/acme/limits"),
        ("ssh://git@github.com/acme/limits.git", "https://github.com/acme/limits"),
        ("ssh://git@ssh.github.com:443/acme/limits.git", "https://github.com/acme/limits"),
        ("ssh://git@altssh.gitlab.com:443/a/b.git", "https://gitlab.com/a/b"),
        ("https://gitlab.com/group/sub/limits.git", "https://gitlab.com/group/sub/limits"),
        ("ssh://git@gitlab.example.org:2222/a/b.git", "https://gitlab.example.org/a/b"),
        ("http://gitlab.example.org:8080/a/b", "http://gitlab.example.org:8080/a/b"),
        ("https://bitbucket.org/acme/limits", "https://bitbucket.org/acme/limits"),
        ("https://codeberg.org/acme/limits", "https://codeberg.org/acme/limits"),
        ("https://gitea.example.org/acme/limits", "https://gitea.example.org/acme/limits"),
        ("https://git.example.org/acme/limits", None),
        ("https://notgithub.com/acme/limits", None),
        ("https://gist.github.com/acme/0123abcd", None),
        ("https://github.com", None),
        ("https://github.com/acme", None),
        ("https://github.com:port/acme/limits", None),
        ("https://[github.com/acme/limits", None),
        ("file:///srv/github/limits", None),
        ("/srv/git/limits.git", None),
        ("../limits", None),
        ("C:\\code\\limits", None),
        ("", None),
    ],
)
def test_a_remote_s_page_is_known_or_there_is_none(remote: str, page: str | None) -> None:
    assert web_address(remote) == page


@pytest.mark.parametrize(
    ("page", "path", "link"),
    [
        ("https://github.com/a/b", "src/x.py", "/blob/{sha}/src/x.py#L3-L7"),
        ("https://github.example.org/a/b", "src/x.py", "/blob/{sha}/src/x.py#L3-L7"),
        ("https://gitlab.com/a/b/c", "src/x.py", "/-/blob/{sha}/src/x.py#L3-7"),
        ("http://gitlab.example.org:8080/a/b", "x.py", "/-/blob/{sha}/x.py#L3-7"),
        ("https://bitbucket.org/a/b", "src/x.py", "/src/{sha}/src/x.py#lines-3:7"),
        ("https://codeberg.org/a/b", "src/x.py", "/src/commit/{sha}/src/x.py#L3-L7"),
        ("https://gitea.example.org/a/b", "src/x.py", "/src/commit/{sha}/src/x.py#L3-L7"),
        ("https://github.com/a/b", "README.md", "/blob/{sha}/README.md?plain=1#L3-L7"),
        ("https://gitlab.com/a/b", "docs/x.rst", "/-/blob/{sha}/docs/x.rst?plain=1#L3-7"),
        ("https://codeberg.org/a/b", "x.adoc", "/src/commit/{sha}/x.adoc?display=source#L3-L7"),
        ("https://bitbucket.org/a/b", "README.md", "/src/{sha}/README.md#lines-3:7"),
        ("https://github.com/a/b", "train.ipynb", "/blob/{sha}/train.ipynb"),
        ("https://github.com/a/b", "a b/#c?%d.py", "/blob/{sha}/a%20b/%23c%3F%25d.py#L3-L7"),
        ("https://github.com/a/b", "ü/日.py", "/blob/{sha}/%C3%BC/%E6%97%A5.py#L3-L7"),
        ("https://github.com/a/b", "a&b;c+d.py", "/blob/{sha}/a%26b%3Bc%2Bd.py#L3-L7"),
    ],
)
def test_a_link_leads_to_the_lines_at_the_commit(page: str, path: str, link: str) -> None:
    assert line_link(page, SHA, path, 3, 7) == page + link.format(sha=SHA)


def test_where_the_form_of_links_is_not_known_the_page_itself_is_linked_to() -> None:
    page = "https://docs.example.org/guide/"
    assert line_link(page, SHA, "install.md", 3, 7) == page
