"""Start, watch, reload, cut, stop: what the page says is what the gateway knows."""

import re
import uuid
import zipfile

import pytest
from playwright.sync_api import APIRequestContext, Browser, Page, Route, expect

from tests.browser.console_page import ARTICLE, ENDED_MS, SLOW_TOPIC, ConsolePage
from tests.browser.cut_line import CutLine
from tests.support.stack import Stack


@pytest.fixture
def gateway(browser: Browser, stack: Stack) -> APIRequestContext:
    """HTTP to the gateway as the ordinary user."""
    headers = {"Authorization": f"Bearer {stack.user_key}"}
    return browser.new_context(base_url=stack.gateway_url, extra_http_headers=headers).request


def get_output(gateway: APIRequestContext, run_id: str) -> str:
    return gateway.get(f"/v1/executions/{run_id}/output", headers={"Accept": "text/plain"}).text()


def test_text_streams_in_and_the_output_is_the_gateways(
    user: ConsolePage, gateway: APIRequestContext
) -> None:
    run_id = user.start("tea gardens 🍃 of Ilam")
    user.expect_text()
    expect(user.page.locator("[data-link=live]")).to_be_visible()
    user.expect_state("completed")
    expect(user.output).to_be_visible()
    final = get_output(gateway, run_id)
    assert final.strip()
    assert user.output.text_content() == final
    expect(user.output).to_be_in_viewport()
    assert final in user.texts.all_text_contents()
    expect(user.page.locator("[data-link=ended]")).to_be_visible()


def test_double_click_makes_one_run(user: ConsolePage, gateway: APIRequestContext) -> None:
    topic = f"a double click {uuid.uuid4()} [[standin words=20]]"
    user.fill_start(topic).dblclick()
    user.expect_state("completed")
    runs = gateway.get("/v1/executions?limit=100").json()["items"]
    inputs = {run["id"]: gateway.get(f"/v1/executions/{run['id']}").json()["input"] for run in runs}
    assert [run_id for run_id, given in inputs.items() if given.get("topic") == topic] == [user.run_id]


def test_reload_in_mid_run_keeps_the_text(user: ConsolePage) -> None:
    user.start(SLOW_TOPIC)
    user.expect_text(80)
    before = user.texts.first.text_content() or ""
    user.page.reload()
    user.expect_text(len(before))
    assert (user.texts.first.text_content() or "").startswith(before)
    user.expect_state("running")
    user.page.get_by_role("button", name="Stop", exact=True).click()
    user.expect_state("stopped")


@pytest.mark.fault
def test_cut_is_shown_and_loses_and_repeats_nothing(
    page: Page, stack: Stack, gateway: APIRequestContext, tolerated: list[str]
) -> None:
    tolerated.append("net::ERR_")
    with CutLine(stack.gateway_url) as line:
        user = ConsolePage(page, line.url)
        user.log_in(stack.user_key)
        run_id = user.start("a long road [[standin chunks=60 chunk_ms=50]]")
        user.expect_text()
        line.cut()
        expect(page.locator("[data-link=reconnecting]")).to_be_visible()
        line.mend()
        expect(page.locator("[data-link=live], [data-link=ended]")).to_be_visible()
        user.expect_state("completed")
        expect(user.output).to_be_visible()
        assert get_output(gateway, run_id) in user.texts.all_text_contents()
        page.goto("about:blank")


def test_stop_is_said_when_it_is_true_and_with_its_times(
    user: ConsolePage, gateway: APIRequestContext
) -> None:
    run_id = user.start(SLOW_TOPIC)
    user.expect_text()
    user.page.get_by_role("button", name="Stop", exact=True).click()
    user.expect_state("stopped")
    assert gateway.get(f"/v1/executions/{run_id}").json()["status"] == "stopped"
    times = user.page.get_by_role("list", name="Times of the stop")
    expect(times).to_contain_text("Heard by the worker")
    expect(times).to_contain_text("Socket closed")
    expect(times).to_contain_text(re.compile(r"\+ [\d.,]+ ms"))
    expect(user.page.get_by_role("heading", name="Partial output")).to_be_visible()
    expect(user.output).to_have_text(re.compile(r"\S"))
    assert user.output.text_content() == get_output(gateway, run_id)


def test_stopping_is_said_at_once_while_the_gateway_has_not_answered(user: ConsolePage) -> None:
    user.start(SLOW_TOPIC)
    user.expect_text()
    held: list[Route] = []
    user.page.route("**/stop", lambda route: held.append(route))
    user.page.get_by_role("button", name="Stop", exact=True).click()
    user.expect_state("stopping")
    expect(user.page.get_by_text("asked by you")).to_be_visible()
    expect(user.page.locator("[data-state=stopped]")).to_have_count(0)
    held[0].continue_()
    user.expect_state("stopped")


def test_missing_input_is_named_beside_its_field_before_anything_is_sent(user: ConsolePage) -> None:
    sent: list[str] = []
    user.page.on("request", lambda request: sent.append(request.method))
    user.fill_start("").click()
    field = user.page.locator("#input-topic")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(user.page.locator("#input-topic-problem")).to_have_text("Topic is required.")
    assert "POST" not in sent


def test_an_address_that_names_no_page_is_told_so(user: ConsolePage) -> None:
    user.page.goto(f"{user.url}/#/nonsense")
    expect(user.page.get_by_role("heading", name="No such page")).to_be_visible()
    user.page.get_by_role("link", name="To the runs").click()
    expect(user.page.get_by_role("heading", name="Start a run")).to_be_visible()


def test_last_values_are_there_after_a_reload(user: ConsolePage) -> None:
    user.fill_start("what I typed last")
    user.page.reload()
    user.page.get_by_label("Engine").select_option(value=ARTICLE)
    expect(user.page.locator("#input-topic")).to_have_value("what I typed last")


def test_somebody_elses_run_can_not_be_shown(user: ConsolePage, tolerated: list[str]) -> None:
    tolerated.append("status of 404")
    user.page.goto(f"{user.url}/#/run/01890000-0000-7000-8000-000000000000")
    expect(user.page.get_by_role("heading", name="This run can not be shown")).to_be_visible()


def test_usage_counts_the_run_and_names_no_cost(user: ConsolePage) -> None:
    run_id = user.start("usage [[standin words=20]]")
    user.expect_state("completed")
    user.page.get_by_role("link", name="Usage").click()
    recent = user.page.get_by_role("region", name="Table of recent executions")
    row = recent.get_by_role("row").filter(has=user.page.locator(f'a[href="#/run/{run_id}"]'))
    expect(row).to_be_visible(timeout=ENDED_MS)
    expect(row).to_contain_text(re.compile("Included|PAYG"))
    expect(user.page.get_by_text(re.compile("Asia/Kath?mandu"))).to_be_visible()
    assert not re.search(r"cost|price|[$€₹]", user.page.locator("main").inner_text(), re.IGNORECASE)


def test_a_book_is_downloaded_under_its_title(user: ConsolePage) -> None:
    user.start("the tides", "short-book")
    user.expect_state("completed")
    title = (user.output.text_content() or "").partition("\n")[0].removeprefix("# ")
    with user.page.expect_download() as begun:
        user.page.get_by_role("button", name="Download as EPUB").click()
    assert begun.value.suggested_filename.startswith(title[:10])
    assert begun.value.suggested_filename.endswith(".epub")
    with zipfile.ZipFile(begun.value.path()) as file:
        assert "EPUB/chapter-0001.xhtml" in file.namelist()
    expect(user.page.get_by_role("button", name="Download as DOCX")).to_be_enabled()


def test_a_book_is_read_formatted_in_a_frame_where_nothing_runs(user: ConsolePage) -> None:
    user.start("the tides", "short-book")
    user.expect_state("completed")
    title = (user.output.text_content() or "").partition("\n")[0].removeprefix("# ")
    button = user.page.get_by_role("button", name="Formatted")
    button.click()
    expect(user.page.locator("iframe.reading")).to_have_attribute("sandbox", "")
    frame = user.page.frame_locator("iframe.reading")
    expect(frame.get_by_role("heading", level=1)).to_have_text(title)
    expect(frame.get_by_role("heading", level=2).first).to_be_visible()
    button.click()
    expect(user.output).to_be_visible()
