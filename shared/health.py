"""What every service answers about itself: /livez, /readyz, /metrics, /status. Plain ASGI, so that it is cheap."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, disable_created_metrics, generate_latest
from uvicorn._types import ASGIApplication, ASGIReceiveCallable, ASGISendCallable, Scope

from shared.asgi import serve
from shared.errors import LekhikaError

READY_SECONDS = 2.0

Ready = Callable[[], tuple[bool, str] | Awaitable[tuple[bool, str]]]
"""Whether the service can do its work now, and what is missing when it can not."""
Status = Callable[[], dict[str, Any]]
Answer = tuple[int, str, bytes]
"""HTTP status, content type, body."""

_JSON = "application/json"


async def readiness(ready: Ready) -> tuple[bool, str]:
    """The check's answer; a check that fails or takes over two seconds means not ready."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            answer = ready()
            return await answer if inspect.isawaitable(answer) else answer
    except TimeoutError:
        return False, f"the check took over {READY_SECONDS:.0f} s"
    except (LekhikaError, OSError) as error:
        return False, f"{type(error).__name__}: {error}"


def health_app(*, service: str, instance: str, ready: Ready, status: Status | None = None) -> ASGIApplication:
    """The four answers as an ASGI application; anything else is 404."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # nobody reads those series
    who = {"service": service, "instance": instance}

    async def answer(path: str) -> Answer:
        match path:
            case "/livez":
                return 200, _JSON, orjson.dumps({"alive": True, **who})
            case "/readyz":
                is_ready, detail = await readiness(ready)
                body = {"ready": is_ready, **who, "detail": detail}
                return 200 if is_ready else 503, _JSON, orjson.dumps(body)
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
            case "/status" if status is not None:
                return 200, _JSON, orjson.dumps(status())
            case _:
                return 404, _JSON, orjson.dumps({"detail": f"there is no {path} here"})

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        code, content_type, body = await answer(scope["path"])
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": code, "headers": headers, "trailers": False})
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app


@contextlib.asynccontextmanager
async def health_server(
    host: str, port: int, *, service: str, instance: str, ready: Ready, status: Status | None = None
) -> AsyncIterator[int]:
    """Serves `health_app` while the block runs; gives the port. Raises: Permanent, when it can not listen."""
    app = health_app(service=service, instance=instance, ready=ready, status=status)
    async with serve(app, host, port, graceful_seconds=1) as bound:
        yield bound
