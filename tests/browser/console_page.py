"""What a person does on the console, by the names that they see there."""

from playwright.sync_api import Locator, Page, expect

ARTICLE = "article"
"""The sample engine that needs nothing but a topic."""

SLOW_TOPIC = "rivers [[standin chunks=400 chunk_ms=50]]"
"""Makes each call to the stand-in take about 20 s, so that a test acts in the middle of it."""

ENDED_MS = 60_000


class ConsolePage:
    """One browser page on the console at `url`."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def enter_key(self, key: str) -> None:
        self.page.goto(f"{self.url}/")
        self.page.get_by_role("button", name="Use an API key").click()
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Log in").click()

    def enter_password(self, email: str, password: str) -> None:
        self.page.goto(f"{self.url}/")
        self.page.get_by_label("Email").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def log_in(self, key: str) -> None:
        self.enter_key(key)
        expect(self.page.get_by_role("heading", name="Start a run")).to_be_visible()

    def fill_start(self, topic: str, engine: str = ARTICLE) -> Locator:
        """Fills the form; gives the button that sends it."""
        self.page.get_by_label("Engine").select_option(value=engine)
        self.page.locator("#input-topic").fill(topic)
        return self.page.get_by_role("button", name="Start", exact=True)

    def start(self, topic: str, engine: str = ARTICLE) -> str:
        """Starts a run and gives its id, once its page is shown."""
        self.fill_start(topic, engine).click()
        expect(self.state).to_be_visible()
        return self.run_id

    @property
    def run_id(self) -> str:
        return self.page.url.partition("#/run/")[2]

    @property
    def state(self) -> Locator:
        return self.page.locator(".run-head [data-state]")

    @property
    def texts(self) -> Locator:
        """The texts of the nodes, in the order of the nodes."""
        return self.page.locator("[data-node]")

    @property
    def output(self) -> Locator:
        return self.page.locator("[data-output-text]")

    def expect_state(self, state: str, timeout: float = ENDED_MS) -> None:
        expect(self.page.locator(f".run-head [data-state={state}]")).to_be_visible(timeout=timeout)

    def expect_text(self, at_least: int = 40) -> None:
        """Some node has that many characters of text."""
        self.page.wait_for_function(
            "least => [...document.querySelectorAll('[data-node]')].some(n => n.textContent.length >= least)",
            arg=at_least,
        )
