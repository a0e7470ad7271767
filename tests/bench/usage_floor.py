"""What counting costs at least: the same rows into a table without keys, and the same messages without counting."""

import time

import nats.errors
import psycopg
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from shared.events import TERMINAL_TYPES
from shared.subjects import EXECUTIONS, event_subject


def copied(database_url: str, ends: int, batch: int) -> float:
    """Ends a second: the lines of the ledger by COPY, of as many ends in a transaction."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        with connection.cursor().copy("COPY (SELECT * FROM usage_ledger) TO STDOUT") as out:
            lines = b"".join(out).splitlines(keepends=True)
        connection.execute("CREATE TABLE bare AS TABLE usage_ledger WITH NO DATA")
        step = batch * len(lines) // ends
        began = time.perf_counter()
        for start in range(0, len(lines), step):
            with connection.cursor().copy("COPY bare FROM STDIN") as into:
                into.write(b"".join(lines[start : start + step]))
        seconds = time.perf_counter() - began
        connection.execute("DROP TABLE bare")
    return ends / seconds


async def fetched(nc: Client, ends: int, batch: int) -> float:
    """Ends a second: fetched with a consumer like that of analytics, and acknowledged."""
    config = ConsumerConfig(
        ack_policy=AckPolicy.EXPLICIT,
        max_ack_pending=ends,
        filter_subjects=[event_subject("*", kind) for kind in TERMINAL_TYPES],
    )
    js = nc.jetstream()
    await js.add_consumer(EXECUTIONS, config, durable_name="floor")
    subscription = await js.pull_subscribe_bind("floor", EXECUTIONS)
    left, began = ends, time.perf_counter()
    while left:
        try:
            messages = await subscription.fetch(min(batch, left), timeout=5)
        except nats.errors.TimeoutError:
            raise RuntimeError(f"{left} of {ends} ends did not come") from None
        for message in messages:
            await message.ack()
        left -= len(messages)
    await nc.flush()
    seconds = time.perf_counter() - began
    await subscription.unsubscribe()
    await js.delete_consumer(EXECUTIONS, "floor")
    return ends / seconds
