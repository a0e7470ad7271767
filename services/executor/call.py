"""One open model call: its text and usage so far, and the way to end it at once."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from opentelemetry.trace import Span

from services.executor.models.answer import Answer
from services.executor.models.names import brand_of
from services.executor.models.provider import ModelError, ModelRequest, Piece, Provider
from shared import telemetry
from shared.ending import estimated, unknown_usage
from shared.tasks import spawn
from shared.usage import ModelUsage, Tier, Tokens

READ_OUT_SECONDS = 0.1
"""How long what is under way may take to arrive after we have hung up."""
LONG_CONTEXT_TOKENS = 200_000
"""Prompts above it have other prices at some models."""


class Call:
    """Runs in a task whose only await is the provider's stream: cancelled there, the socket closes at once.

    (Cancelled while publishing or querying, the SDK leaves the socket open until garbage collection.)
    """

    def __init__(
        self,
        provider: Provider,
        request: ModelRequest,
        tier: Tier,
        node: str,
        node_attempt: int,
        before: str = "",
    ) -> None:
        """`before`: what the calls before have written of the text that this one goes on with."""
        self.request = request
        self.node = node
        self.node_attempt = node_attempt
        self.error: ModelError | None = None
        self.aborted = False
        self.closed_at: float | None = None
        """`time.monotonic()` of its end."""
        self.size = len(before.encode())
        """Of its text so far, in bytes."""
        self._provider = provider
        self._tier = tier
        self._parts: list[str] = [before] if before else []
        self._arrived = asyncio.Event()
        self._last = Piece()
        self._tokens: Tokens | None = None
        self._seen = 0
        self._cut = False
        """Whether we closed the socket although the provider had not: it may have counted more than it told."""
        self._hang_up: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = spawn(self._pump(), name=f"call {self.node}")

    async def _pump(self) -> None:
        try:
            system = brand_of(self.request.model).system
            with telemetry.gen_ai_span(self.request.model, system=system) as span:
                try:
                    await self._provider.stream(self.request, self)
                finally:
                    self._describe(span)
        except asyncio.CancelledError:
            self._cut = True
            raise
        except ModelError as error:
            if not self.aborted:
                self.error = error
        else:
            self.aborted = False  # it came to its end before it could be aborted
        finally:
            self.closed_at = time.monotonic()
            self._arrived.set()

    def _describe(self, span: Span) -> None:
        known = self._tokens or Tokens()
        telemetry.record_answer(
            span,
            model=self._last.model,
            response_id=self._last.response_id,
            finish_reasons=[self._last.finish_reason] if self._last.finish_reason else [],
            input_tokens=known.input if self._tokens else None,
            output_tokens=known.output + known.thoughts if self._tokens else None,
        )

    def connected(self, hang_up: Callable[[], None]) -> None:
        self._hang_up = hang_up

    def receive(self, piece: Piece) -> None:
        before = self._last
        self._last = Piece(
            model=piece.model or before.model,
            response_id=piece.response_id or before.response_id,
            finish=piece.finish or before.finish,
            finish_reason=piece.finish_reason or before.finish_reason,
            block_reason=piece.block_reason or before.block_reason,
        )
        self._tokens = piece.tokens or self._tokens
        self._seen += 1
        if piece.text:
            self._parts.append(piece.text)
            self.size += len(piece.text.encode())
        self._arrived.set()

    def abort(self) -> None:
        """Ends the call; returns at once.

        The provider hears of it now. What it had sent before is still taken in, for a moment, because it has been
        counted there; then the task is cancelled, which closes the socket.
        """
        if self._task is None or self._task.done() or self.aborted:
            return
        self.aborted = True
        if self._hang_up is None:
            self._task.cancel()
        else:
            self._hang_up()
            asyncio.get_running_loop().call_later(READ_OUT_SECONDS, self._task.cancel)

    async def closed(self, seconds: float) -> bool:
        """Waits until the call has ended, at most so long."""
        if self._task is None:
            return True
        done, _ = await asyncio.wait([self._task], timeout=seconds)
        return bool(done)

    @property
    def done(self) -> bool:
        return self._task is not None and self._task.done()

    async def more(self, seconds: float) -> bool:
        """Waits for a chunk that was not waited for yet, or for the end. False when `seconds` passed without."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
                self._arrived.clear()
                return True
        return False

    @property
    def begun(self) -> bool:
        """Whether the provider has sent anything."""
        return self._seen > 0

    @property
    def text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def answer(self) -> Answer:
        return Answer(
            text=self.text,
            model=self._last.model,
            tokens=self._tokens,
            finish=self._last.finish,
            finish_reason=self._last.finish_reason,
            block_reason=self._last.block_reason,
            response_id=self._last.response_id,
        )

    @property
    def usage(self) -> tuple[ModelUsage, ...]:
        """What the provider has reported so far.

        The last report of a stream that broke, or that we had to cut, is an estimate; of a call that was let go before
        any report nothing is known; a call that was refused used nothing.
        """
        model = self._last.model or self.request.model
        if self._tokens is None:
            refused = self.error is not None and not self.error.used and not self.begun
            return () if refused else (unknown_usage(model, self._tier),)
        long = self._tokens.input > LONG_CONTEXT_TOKENS
        usage = ModelUsage(model=model, tier=self._tier, tokens=self._tokens, long_context=long)
        return (estimated(usage),) if self.error is not None or self._cut else (usage,)
