"""A real browser on the real console. Where there is none these tests are skipped, but never in CI."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.console_page import ConsolePage
from tests.support.stack import Stack

CANDIDATES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = [
    "--no-sandbox",  # Chromium refuses to start for root with one, and CI is root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser of the system; LEKHIKA_CHROMIUM names another one."""
    found = os.environ.get("LEKHIKA_CHROMIUM") or next(filter(None, map(shutil.which, CANDIDATES)), None)
    if found is None:
        reason = "no chromium on this machine (on Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


# Of a module, not of the session: Playwright's own event loop is running as long as it lives, and asynchronous tests
# of other modules could not run beside it. It asks for the stack so that this is up before that loop begins.
@pytest.fixture(scope="module")
def browser(chromium_path: str, stack: Stack) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def tolerated() -> list[str]:
    """Beginnings of console messages that a test brings about on purpose."""
    return []


@pytest.fixture
def page(browser: Browser, tolerated: list[str]) -> Iterator[Page]:
    """A page in a fresh profile. The test fails on any console error, exception or policy violation in it."""
    context = browser.new_context(locale="en-GB", timezone_id="Asia/Kathmandu")
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    faults: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(message.text)

    opened.on("console", listen)
    opened.on("pageerror", lambda error: faults.append(f"exception: {error}"))
    yield opened
    context.close()
    assert [fault for fault in faults if not any(part in fault for part in tolerated)] == []


@pytest.fixture
def user(page: Page, stack: Stack) -> ConsolePage:
    """The console with an ordinary user logged in."""
    console = ConsolePage(page, stack.gateway_url)
    console.log_in(stack.user_key)
    return console


@pytest.fixture
def admin(page: Page, stack: Stack) -> ConsolePage:
    """The console with a superadmin logged in."""
    console = ConsolePage(page, stack.gateway_url)
    console.log_in(stack.admin_key)
    return console
