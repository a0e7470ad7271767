"""Hundreds of executions while every kind of process is killed, frozen, restarted and cut off; then the proof.

`LEKHIKA_CHAOS_SEED=<seed>` draws the same plan again; `LEKHIKA_CHAOS_KILLS`, `LEKHIKA_CHAOS_EXECUTIONS` and
`LEKHIKA_CHAOS_PAUSE` (seconds between two troubles) change its size.
"""

from pathlib import Path

import pytest

from tests.support.chaos.drive import drive
from tests.support.chaos.plan import Settings, draw


@pytest.mark.timeout(3600)
async def test_nothing_is_lost_run_twice_or_miscounted_whatever_dies(tmp_path: Path) -> None:
    settings = Settings.read()
    print(f"\nLEKHIKA_CHAOS_SEED={settings.seed}: {settings.executions} executions, {settings.kills} kills")
    report = await drive(draw(settings), tmp_path)
    print(report.text)
    assert not report.faults, "\n".join(
        [f"LEKHIKA_CHAOS_SEED={settings.seed} broke {len(report.faults)} rules:", *report.faults[:40]]
    )
