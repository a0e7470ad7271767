"""Logging in with a key, and who sees what."""

import re

from playwright.sync_api import Page, expect

from tests.browser.console_page import ConsolePage
from tests.support.stack import Stack


def test_page_is_served_under_a_policy_without_inline_code(page: Page, stack: Stack) -> None:
    response = page.goto(f"{stack.gateway_url}/")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    module = page.request.get(f"{stack.gateway_url}/console/app.js")
    assert [response.headers["cache-control"], module.headers["cache-control"]] == ["no-cache"] * 2
    expect(page.get_by_label("Email")).to_be_focused()


def test_unknown_key_is_refused_in_words(page: Page, stack: Stack, tolerated: list[str]) -> None:
    tolerated.append("status of 401")
    ConsolePage(page, stack.gateway_url).enter_key("lk_nobody_has_this_key")
    expect(page.get_by_role("alert")).to_contain_text("The key was not accepted")
    expect(page.get_by_label("API key")).to_be_visible()


def test_text_that_can_not_be_a_key_is_not_even_sent(page: Page, stack: Stack) -> None:
    console = ConsolePage(page, stack.gateway_url)
    console.enter_key("कुञ्जी")
    expect(page.get_by_role("alert")).to_contain_text("not an API key")


def test_key_stays_in_the_tab_and_log_out_forgets_it(user: ConsolePage, stack: Stack) -> None:
    kept = "() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage) + document.cookie]"
    in_tab, elsewhere = user.page.evaluate(kept)
    assert stack.user_key in in_tab
    assert stack.user_key not in elsewhere
    user.page.get_by_role("button", name="Log out").click()
    expect(user.page.get_by_label("API key")).to_be_visible()
    assert stack.user_key not in "".join(user.page.evaluate(kept))


def test_a_session_by_password_outlives_the_page_starts_a_run_and_ends(
    page: Page, stack: Stack, tolerated: list[str]
) -> None:
    tolerated.append("status of 401")
    console, user = ConsolePage(page, stack.gateway_url), stack.credentials["user"]
    console.enter_password(user["email"], "not the password")
    expect(page.get_by_role("alert")).to_contain_text("no account with this email address and password")
    page.get_by_label("Password").fill(user["password"])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Start a run")).to_be_visible()
    assert page.evaluate("() => JSON.stringify([sessionStorage, localStorage])").count(user["password"]) == 0
    assert "lekhika_session" not in page.evaluate("() => document.cookie")
    page.reload()
    console.start("rivers")
    console.expect_state("completed")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Email")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Email")).to_be_visible()
    assert [cookie.get("name") for cookie in page.context.cookies()] == []


def test_user_sees_no_workers(user: ConsolePage, tolerated: list[str]) -> None:
    expect(user.page.get_by_role("link", name="Usage")).to_be_visible()
    expect(user.page.get_by_role("link", name="Workers")).to_have_count(0)
    tolerated.append("status of 403")
    user.page.goto(f"{user.url}/#/workers")
    expect(user.page.get_by_role("alert")).to_be_visible()
    expect(user.page.locator("[data-worker]")).to_have_count(0)


def test_superadmin_sees_every_service_among_the_workers(admin: ConsolePage) -> None:
    admin.page.get_by_role("link", name="Workers").click()
    table = admin.page.get_by_role("region", name="Workers that report")
    for service in ("gateway", "executor", "analytics", "janitor"):
        expect(table.get_by_role("rowheader", name=service).first).to_be_visible()
    expect(table.locator("[data-state=ready]").first).to_be_visible()
    executor = table.get_by_role("row").filter(has=admin.page.get_by_role("rowheader", name="executor"))
    expect(executor.first).to_contain_text(re.compile(r"\d+ of \d+"))


def test_stand_in_is_said_on_every_page(user: ConsolePage) -> None:
    for place in ("", "usage"):
        user.page.goto(f"{user.url}/#/{place}")
        expect(user.page.get_by_role("complementary")).to_contain_text("Stand-in")
