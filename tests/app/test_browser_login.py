"""The login, in a real browser: by the form, by the printed address, and how it ends."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.app.browser_steps import NARROW, QUESTION, WAIT_MS, WIDE, ask, snap
from tests.app.guarded import TOKEN, served_to_others

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::pandas.errors.PandasDeprecationWarning"),
]


@pytest.fixture(scope="module")
def address(index_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("others") / "conversations.sqlite"
    with served_to_others(index_folder, file) as chat:
        yield f"{chat.url}/"


def open_page(
    browser: "Browser", address: str, size: tuple[int, int], scheme: str, *, scripts: bool = True
) -> "Page":
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,  # type: ignore[arg-type]
        java_script_enabled=scripts,
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    return page


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_a_person_logs_in_by_the_form_and_asks(
    browser: "Browser", address: str, size: tuple[int, int], scheme: str
) -> None:
    page = open_page(browser, address, size, scheme)
    field = page.get_by_label("Token")
    assert field.evaluate("node => node === document.activeElement")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    field.fill("a guess")
    field.press("Enter")
    page.get_by_role("alert").get_by_text("not the token").wait_for()
    snap(page, f"login-{scheme}")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#welcome:not([hidden]) .welcome")
    assert page.url == address
    assert "TokenBucket" in ask(page, QUESTION)
    conversation = page.url
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert all(cookie["httpOnly"] for cookie in cookies.values())
    assert all(cookie["sameSite"] == "Strict" for cookie in cookies.values())
    assert not [cookie for cookie in cookies.values() if TOKEN in cookie["value"]]
    page.context.clear_cookies(name=re.compile("codeqa_login"))  # the next question shows the form
    page.fill("#question textarea", QUESTION)
    page.press("#question textarea", "Enter")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_label("Token").press("Enter")
    page.wait_for_selector("#question")
    assert page.url == conversation
    page.context.close()


def test_the_form_needs_no_script(browser: "Browser", address: str) -> None:
    page = open_page(browser, address, WIDE, "light", scripts=False)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_label("Token").press("Enter")
    page.wait_for_url(address)
    assert page.get_by_label("Token").count() == 0
    page.context.close()


def test_the_printed_address_opens_the_page_and_the_token_leaves_the_bar(
    browser: "Browser", address: str
) -> None:
    page = open_page(browser, f"{address}?token={TOKEN}", WIDE, "light")
    page.wait_for_selector("#welcome:not([hidden]) .welcome")
    assert page.url == address
    page.context.close()
