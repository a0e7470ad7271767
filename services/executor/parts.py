"""What every run of this process shares."""

from dataclasses import dataclass, field

from nats.aio.client import Client

from services.executor.apart import Apart
from services.executor.models.gate import Gate
from services.executor.models.provider import Provider
from services.executor.nodes.context import CallTimes
from services.executor.retry import BUDGET
from services.executor.server_clock import ServerClock
from shared.artifacts import Artifacts


@dataclass(frozen=True, kw_only=True)
class Parts:
    """`retry_budget`: retries that one execution may make in all while it runs here."""

    nc: Client
    artifacts: Artifacts
    provider: Provider
    times: CallTimes
    clock: ServerClock
    apart: Apart
    gate: Gate = field(default_factory=Gate)
    retry_budget: int = BUDGET
