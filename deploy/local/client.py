"""The gateway over HTTP, as the command line uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import httpx

from deploy.local.home import Home, holder, read_json
from deploy.local.processes import StackError
from deploy.local.program import program_name
from shared.errors import Permanent, Retryable

Who = Literal["user", "admin"]


@dataclass(frozen=True, kw_only=True)
class Access:
    url: str
    api_key: str


def find_access(home: Home, who: Who = "user", environment: Mapping[str, str] = os.environ) -> Access:
    """LEKHIKA_URL and LEKHIKA_API_KEY, else the stack of the home and the key of one of its users.

    A key of the home is never sent to a server that is not its own. Raises StackError when one is missing.
    """
    url, key = environment.get("LEKHIKA_URL"), environment.get("LEKHIKA_API_KEY")
    if url and not key:
        raise StackError("LEKHIKA_URL is set, but LEKHIKA_API_KEY is not.")
    if not url:
        if holder(home) is None or not home.stack.exists():
            raise StackError(
                f"No stack is ready in {home.path}. Start one with `{program_name()} up`, name its home with --home, "
                "or set LEKHIKA_URL and LEKHIKA_API_KEY."
            )
        url = str(read_json(home.stack)["gateway_url"])
    return Access(url=url.rstrip("/"), api_key=key or str(read_json(home.credentials)[who]["api_key"]))


class Refused(Permanent):
    """The gateway answered with a problem (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        super().__init__(self._text())

    def _text(self) -> str:
        head = f"{self.problem.get('title') or 'The gateway refused'} ({self.status})"
        if self.problem.get("code") == "engine_not_found":
            return f"{head}: `{program_name()} engine list` shows the engines that you may run."
        errors = self.problem.get("errors") or []
        if errors:  # the detail only repeats the first of them
            return "\n".join([head, *(f"  {error.get('field')}: {error.get('detail')}" for error in errors)])
        detail = self.problem.get("detail")
        return f"{head}: {detail}" if detail else head


class NoAnswer(Retryable):
    """The gateway can not be reached."""


class Client:
    """Calls return decoded JSON; they raise Refused for a 4xx or 5xx and NoAnswer when nobody answers."""

    def __init__(self, access: Access) -> None:
        self._url = access.url
        local = urlsplit(access.url).hostname in {"127.0.0.1", "localhost", "::1"}
        self._http = httpx.Client(
            base_url=access.url,
            headers={"Authorization": f"Bearer {access.api_key}"},
            timeout=30.0,
            trust_env=not local,  # a proxy knows nothing of this machine's own ports
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> Any:
        return self._send("GET", path, params=_given(query)).json()

    def pages(self, path: str, **query: str | int | None) -> Iterator[Any]:
        """All pages of a list."""
        page = self.get(path, **query)
        yield page
        while page["next_cursor"] is not None:
            page = self.get(path, **query, cursor=page["next_cursor"])
            yield page

    def items(self, path: str, **query: str | int | None) -> list[Any]:
        """Of all pages of a list."""
        return [item for page in self.pages(path, **query) for item in page["items"]]

    def text(self, path: str, accept: str, **query: str | int | None) -> str:
        return self._send("GET", path, params=_given(query), headers={"Accept": accept}).text

    def file(self, path: str, read_seconds: float, **query: str | int | None) -> httpx.Response:
        """The whole answer: its content is bytes, and its headers name them."""
        timeout = httpx.Timeout(30.0, read=read_seconds)
        return self._send("GET", path, params=_given(query), timeout=timeout)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        return self.posted(path, body, headers)[1]

    def posted(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """With the status of HTTP, where that tells more than the body."""
        answer = self._send("POST", path, json=body, headers=headers)
        return answer.status_code, answer.json()

    def put(self, path: str, body: Any) -> Any:
        return self._send("PUT", path, json=body).json()

    def delete(self, path: str, **query: str | int | None) -> Any:
        """None, when the answer has no body."""
        answer = self._send("DELETE", path, params=_given(query))
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as problem:
            raise self._no_answer(problem) from problem
        raise_for_problem(answer)
        return answer

    def lines(self, path: str, headers: Mapping[str, str], read_seconds: float) -> Iterator[str]:
        """Lines of an open answer as they come; the answer is closed with the iterator."""
        timeout = httpx.Timeout(30.0, read=read_seconds)
        try:
            with self._http.stream("GET", path, headers=dict(headers), timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                raise_for_problem(answer)
                yield from _lines(answer)
        except httpx.TransportError as problem:
            raise self._no_answer(problem) from problem

    def _no_answer(self, problem: httpx.TransportError) -> NoAnswer:
        return NoAnswer(f"No answer from {self._url}: {problem or type(problem).__name__}")


def _lines(answer: httpx.Response) -> Iterator[str]:
    """Split at line feeds only: `iter_lines` would also split at separators inside JSON text."""
    rest = ""
    for piece in answer.iter_text():
        *complete, rest = (rest + piece).split("\n")
        yield from (line.removesuffix("\r") for line in complete)


def raise_for_problem(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    raise Refused(answer.status_code, problem if isinstance(problem, dict) else {"detail": answer.text[:500]})


def _given(query: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}
