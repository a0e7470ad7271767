"""A run page while it waits in the queue, while the gateway is killed, and in a hidden tab."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import APIRequestContext, Browser, expect

from tests.browser.console_page import ConsolePage
from tests.support.stack import Stack

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
RUN = {"engine": "article", "input": {"topic": "a queue [[standin words=5]]"}}
SLOWLY = "a long road 🌊 [[standin chunks=120 chunk_ms=50]]"


@pytest.fixture
def gateway(browser: Browser, stack: Stack) -> APIRequestContext:
    """HTTP to the gateway as the ordinary user."""
    headers = {"Authorization": f"Bearer {stack.user_key}"}
    return browser.new_context(base_url=stack.gateway_url, extra_http_headers=headers).request


@contextmanager
def no_executor(stack: Stack) -> Iterator[None]:
    """What is requested meanwhile waits."""
    pids = [pid for name, pid in stack.processes.items() if name.startswith("executor")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def same_as_the_output(user: ConsolePage, gateway: APIRequestContext, run_id: str) -> None:
    """Everything that the page has put together is there, and the output is one of it."""
    expect(user.output).to_be_visible()
    final = gateway.get(f"/v1/executions/{run_id}/output", headers={"Accept": "text/plain"}).text()
    assert user.output.text_content() == final
    assert final in user.texts.all_text_contents()


def test_place_in_the_queue_is_shown_and_moves(
    user: ConsolePage, gateway: APIRequestContext, stack: Stack, tmp_path: Path
) -> None:
    with no_executor(stack):
        runs = [gateway.post("/v1/executions", data=RUN).json()["id"] for _ in range(10)]
        user.page.goto(f"{user.url}/#/run/{runs[-1]}")
        place = user.page.locator("[data-queue]")
        expect(place).to_contain_text("place 10")
        user.page.screenshot(path=tmp_path / "queued.png")
        user.page.set_viewport_size({"width": 360, "height": 700})
        user.page.screenshot(path=tmp_path / "queued-narrow.png")
        width = user.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360
        gateway.post(f"/v1/executions/{runs[0]}/stop", data={})
        expect(place).to_contain_text("place 9")
        user.page.goto(f"{user.url}/#/")
        line = user.page.locator(f'a[href="#/run/{runs[-1]}"]')
        expect(line).to_contain_text("place 9")
        user.page.screenshot(path=tmp_path / "runs.png")
        line.click()
    user.expect_state("completed")
    expect(place).to_have_count(0)


@pytest.mark.fault
def test_gateway_that_is_killed_under_an_open_page_loses_and_repeats_nothing(
    user: ConsolePage, gateway: APIRequestContext, stack: Stack, tolerated: list[str]
) -> None:
    tolerated.append("net::ERR_")
    tolerated.append("status of 503")
    run_id = user.start(SLOWLY)
    user.expect_text()
    os.kill(stack.processes["gateway-1"], signal.SIGKILL)
    expect(user.page.locator("[data-link=reconnecting]")).to_be_visible()
    expect(user.page.locator("[data-link=live], [data-link=ended]")).to_be_visible(timeout=60_000)
    user.expect_state("completed")
    same_as_the_output(user, gateway, run_id)


@pytest.mark.fault
def test_hidden_tab_gives_its_connection_back_and_has_all_when_it_is_shown_again(
    user: ConsolePage, gateway: APIRequestContext
) -> None:
    user.page.clock.install()
    run_id = user.start(SLOWLY)
    user.page.clock.resume()
    user.expect_text()
    user.page.evaluate(HIDE, True)
    user.page.clock.fast_forward(61_000)
    expect(user.page.locator("[data-link=reconnecting]")).to_be_attached()
    user.page.evaluate(HIDE, False)
    expect(user.page.locator("[data-link=live], [data-link=ended]")).to_be_visible()
    user.expect_state("completed")
    same_as_the_output(user, gateway, run_id)
