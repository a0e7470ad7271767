"""Rollups = ledger = ground truth, to the token and the tenth decimal, in a large storm."""

import random
from pathlib import Path

import pytest

from services.analytics.store import Store
from tests.support.exactness import storm
from tests.support.ledger import clean_ledger, expected, found, ledger_database, look_at_days, plain

EXECUTIONS, ROUNDS = 8_000, 4


@pytest.mark.timeout(3600)
async def test_every_token_and_tenth_decimal_after_replays_cuts_rebuilds_and_repricing(
    tmp_path: Path,
) -> None:
    with ledger_database(tmp_path / "postgres") as server:
        for seed in range(ROUNDS):
            async with clean_ledger(server) as engine:
                look_at_days(server)
                prices = await Store(engine).prices()
                events = await storm(engine, random.Random(seed), prices, EXECUTIONS)
                assert found(server) == plain(expected(events, prices))
                assert await Store(engine).differences() == []
