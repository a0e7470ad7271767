"""Rollups = ledger = ground truth, to the token and the tenth decimal, in a large storm."""

import random
from pathlib import Path

import psycopg

from deploy.local.postgres import PostgresServer
from deploy.migrations.__main__ import run
from services.analytics.store import Store
from shared.db import make_engine
from tests.support.exactness import storm
from tests.support.ledger import CLEAN, USERS, expected, found, plain

EXECUTIONS, ROUNDS = 8_000, 4


async def test_every_token_and_tenth_decimal_after_replays_cuts_rebuilds_and_repricing(
    tmp_path: Path,
) -> None:
    server = PostgresServer(tmp_path / "postgres")
    run("upgrade", server.start(), {"LEKHIKA_DB_PASSWORD_ANALYTICS": "for-tests"})
    engine = make_engine(server.url_for("lekhika_analytics", "for-tests"), application="test", pool_size=8)
    try:
        with psycopg.connect(server.url) as connection:
            for user in USERS:
                connection.execute("INSERT INTO users (id, display_name) VALUES (%s, 'somebody')", [user])
        for seed in range(ROUNDS):
            with psycopg.connect(server.url) as connection:
                connection.execute(CLEAN)
            prices = await Store(engine).prices()
            events = await storm(engine, random.Random(seed), prices, EXECUTIONS)
            assert found(server) == plain(expected(events, prices))
            assert await Store(engine).differences() == []
    finally:
        await engine.dispose()
        server.stop()
