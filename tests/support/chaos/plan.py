"""What will happen in one run of the chaos test, drawn from its seed before anything starts. Pure."""

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.fault_points import Point

SERVICES: Mapping[str, int] = {"gateway": 2, "executor": 3, "analytics": 2, "janitor": 2}
NATS, POSTGRES = "nats", "postgres"
KILLABLE = {"executor": 50, "gateway": 18, "analytics": 12, "janitor": 10, NATS: 4, POSTGRES: 4}
"""Whom a kill hits, in hundredths."""


class Kind(StrEnum):
    KILL = "kill"
    TERM = "term"
    FREEZE = "freeze"
    CUT = "cut"
    HOLD = "hold"
    SLOW = "slow"
    NAK = "nak"
    REPEAT = "repeat"
    COPIES = "copies"


OFTEN = {
    Kind.TERM: 18,
    Kind.FREEZE: 18,
    Kind.CUT: 22,
    Kind.HOLD: 14,
    Kind.SLOW: 10,
    Kind.NAK: 22,
    Kind.REPEAT: 12,
    Kind.COPIES: 12,
}
"""How often these come, for each hundred kills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """From the environment; the defaults take about five minutes on two quiet cores."""

    seed: int
    executions: int
    kills: int
    pause: float
    """Seconds between two troubles, on average."""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        seed = environment.get("LEKHIKA_CHAOS_SEED")
        kills = int(environment.get("LEKHIKA_CHAOS_KILLS", "60"))
        return cls(
            seed=int(seed) if seed else random.SystemRandom().randrange(1_000_000),
            kills=kills,
            executions=int(environment.get("LEKHIKA_CHAOS_EXECUTIONS", str(5 * kills))),
            pause=float(environment.get("LEKHIKA_CHAOS_PAUSE", "1.0")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """`pause` seconds after the one before. `seconds`: how long it lasts, or a killed one stays away."""

    kind: Kind
    target: str
    pause: float
    seconds: float = 0.0
    kill_at: str = ""
    """The value of LEKHIKA_KILL_AT that the process is started with afterwards."""
    chance: float = 0.0
    """In [0, 1): which execution or link, of those that there are then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """`twice`: asked at both gateways at once. `force`: by a superadmin. `reached`: share of its way by then."""

    after: float
    force: bool
    twice: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`when`: the share of all kills that are done before it is made. `patient`: repeats it until it is answered."""

    key: str
    user: int
    engine: str
    options: str
    limits: Mapping[str, int]
    when: float
    patient: bool
    stop: Stopping | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    settings: Settings
    requests: tuple[Request, ...]
    troubles: tuple[Trouble, ...]
    first: Mapping[str, str]
    """LEKHIKA_KILL_AT of the processes that are started first."""


USERS = 6


def draw(settings: Settings) -> Plan:
    rng = random.Random(settings.seed)
    requests = tuple(_request(rng, settings, number) for number in range(settings.executions))
    troubles = tuple(_troubles(rng, settings))
    names = [name(service, n) for service, count in SERVICES.items() for n in range(1, count + 1)]
    return Plan(
        settings=settings,
        requests=requests,
        troubles=troubles,
        first={each: _kill_at(rng, each) for each in names},
    )


def name(service: str, number: int) -> str:
    return f"{service}-{number}"


def _pick(rng: random.Random, weights: Mapping[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _request(rng: random.Random, settings: Settings, number: int) -> Request:
    engine = _pick(rng, {"chain": 34, "fan": 24, "big": 12, "text": 6, "single": 24})
    fault = _pick(
        rng,
        {
            "": 68,
            "fault=cut times=1 after=2": 6,
            "fault=reset times=1": 5,
            "fault=status_503 times=1": 5,
            "fault=status_429 times=1 delay_s=1": 5,
            "fault=error_in_stream times=1": 3,
            "fault=safety": 4,
            "usage=last": 4,
        },
    )
    stop = None
    if rng.random() < 0.3:
        stop = Stopping(
            after=rng.choice([0.0, rng.uniform(0, 0.3), rng.uniform(0, 4), rng.uniform(4, 15)]),
            force=rng.random() < 0.3,
            twice=rng.random() < 0.3,
        )
    return Request(
        key=f"chaos-{settings.seed}-{number}",
        user=rng.randrange(USERS),
        engine=engine,
        options=f"chunk_ms={rng.choice([5, 20, 60, 150, 350])} chunks={rng.randint(3, 40)} thoughts={rng.choice([0, 0, 7])} {fault}",
        limits=rng.choice([{}] * 10 + [{"tokens": 150}, {"seconds": 3}, {"nodes": 2}]),
        when=number / settings.executions,
        patient=rng.random() < 0.93,
        stop=stop,
    )


def _troubles(rng: random.Random, settings: Settings) -> Iterator[Trouble]:
    others = [kind for kind, often in OFTEN.items() for _ in range(round(often * settings.kills / 100))]
    kinds = [Kind.KILL] * settings.kills + others
    rng.shuffle(kinds)
    for kind in kinds:
        yield _trouble(rng, kind, min(rng.expovariate(1 / settings.pause), 4 * settings.pause))


def _trouble(rng: random.Random, kind: Kind, pause: float) -> Trouble:
    chance = rng.random()
    match kind:
        case Kind.KILL:
            target = _pick(rng, KILLABLE)
            if target in SERVICES:
                target = name(target, rng.randint(1, SERVICES[target]))
            away = rng.choice([0.0, rng.uniform(0, 3), rng.uniform(0, 3), rng.uniform(3, 12)])
            if target == NATS:
                away = rng.choice([0.0, rng.uniform(0, 3)])
            return Trouble(
                kind=kind,
                target=target,
                pause=pause,
                seconds=away,
                kill_at=_kill_at(rng, target),
                chance=chance,
            )
        case Kind.TERM:
            target = _service(rng)
            return Trouble(
                kind=kind, target=target, pause=pause, kill_at=_kill_at(rng, target), chance=chance
            )
        case Kind.FREEZE:
            seconds = rng.choice([rng.uniform(0.1, 3), rng.uniform(8, 25)])
            return Trouble(kind=kind, target=_service(rng), pause=pause, seconds=seconds, chance=chance)
        case Kind.CUT | Kind.HOLD | Kind.SLOW:
            link = f"{_service(rng)}/{rng.choice([NATS, NATS, POSTGRES])}"
            target = f"*/{rng.choice([NATS, POSTGRES])}" if rng.random() < 0.15 else link
            seconds = rng.uniform(0.2, 4) if target.startswith("*") else rng.uniform(0.2, 16)
            return Trouble(kind=kind, target=target, pause=pause, seconds=seconds, chance=chance)
        case Kind.NAK | Kind.REPEAT | Kind.COPIES:
            return Trouble(kind=kind, target="log", pause=pause, chance=chance)


def _service(rng: random.Random) -> str:
    service = _pick(rng, {each: KILLABLE[each] for each in SERVICES})
    return name(service, rng.randint(1, SERVICES[service]))


def _kill_at(rng: random.Random, target: str) -> str:
    """Half of all processes are to die at one of their points."""
    points = [point for point in Point if point.startswith(target.partition("-")[0] + ".")]
    passes = rng.choice([1, 1, 2, 3, 5, 8])
    if not points or rng.random() < 0.5:
        return ""
    return f"{rng.choice(points)}:{passes}"
