"""Stops: one answer for every race, whoever is there to obey."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from services.gateway import commands
from shared import ending, subjects
from shared.errors import Conflict
from shared.events import ExecutionReleased, ExecutionStopped, Recorded, ReleaseReason
from shared.execution import ExecutionState
from shared.fault_points import Point
from shared.ids import new_id
from shared.log import ExecutionLog
from shared.messages import GUARD, GUARD_SUBJECT
from shared.usage import Certainty
from tests.support import make
from tests.support.gateway import SECONDS, Database, Gateway, Person, Player, add_person

GOOD = {"engine": "book", "input": {"topic": "Tea"}}


async def queued(client: httpx.AsyncClient, gateway: Gateway) -> Player:
    answer = await client.post("/v1/executions", json=GOOD)
    return Player(gateway.parts, answer.json()["id"])


async def running(client: httpx.AsyncClient, gateway: Gateway) -> Player:
    player = await queued(client, gateway)
    await player.claim()
    await player.begin("outline")
    return player


async def stop(client: httpx.AsyncClient, player: Player, **body: Any) -> httpx.Response:
    return await client.post(f"/v1/executions/{player.id}/stop", json=body)


async def end(player: Player) -> ExecutionStopped:
    event = (await player.state()).end
    assert isinstance(event, ExecutionStopped)
    return event


class TestNobodyRunsIt:
    async def test_a_queued_one_is_stopped_by_the_gateway(
        self, ada: httpx.AsyncClient, gateway: Gateway, database: Database
    ) -> None:
        player = await queued(ada, gateway)
        answer = await stop(ada, player, reason="Too slow")
        assert (answer.status_code, answer.json()["status"]) == (202, "stopped")
        assert answer.json()["stop"]["by"] == database.people["ada"].user_id
        assert (await end(player)).stop.reason == "Too slow"
        again = await stop(ada, player)
        assert (again.status_code, again.json()["stop"]["reason"]) == (200, "Too slow")

    async def test_a_body_is_not_needed(self, ada: httpx.AsyncClient, gateway: Gateway) -> None:
        player = await queued(ada, gateway)
        assert (await ada.post(f"/v1/executions/{player.id}/stop")).status_code == 202

    async def test_one_that_was_handed_back_keeps_what_it_has_used(
        self, ada: httpx.AsyncClient, gateway: Gateway
    ) -> None:

        player = await running(ada, gateway)
        await player.append(
            ExecutionReleased(attempt=1, instance="player", reason=ReleaseReason.DRAIN, usage=(make.usage(),))
        )
        answer = await stop(ada, player)
        assert (answer.json()["status"], answer.json()["tokens"]["total"]) == ("stopped", 15)

    async def test_a_stop_and_a_start_at_the_same_moment_have_one_winner(
        self, ada: httpx.AsyncClient, gateway: Gateway
    ) -> None:
        async def claim(player: Player, state: ExecutionState) -> bool:
            try:
                await gateway.parts.log.append(player.id, make.started(instance="player"), state.last_seq)
            except Conflict:
                return False
            return True

        players = [await queued(ada, gateway) for _ in range(20)]
        states = [await player.state() for player in players]
        stops = [stop(ada, player) for player in players]
        claims = [claim(player, state) for player, state in zip(players, states, strict=True)]
        answers, claimed = await asyncio.gather(asyncio.gather(*stops), asyncio.gather(*claims))
        for answer, was_claimed in zip(answers, claimed, strict=True):
            assert answer.json()["status"] == ("stopping" if was_claimed else "stopped")


class TestSomebodyRunsIt:
    async def test_it_is_stopping_until_its_executor_has_ended_it(
        self, ada: httpx.AsyncClient, gateway: Gateway
    ) -> None:
        player = await running(ada, gateway)
        first = await stop(ada, player, reason="Enough")
        assert (first.status_code, first.json()["status"]) == (202, "stopping")
        again = await stop(ada, player, reason="Really")
        assert (again.status_code, again.json()["status"]) == (202, "stopping")
        assert again.json()["stop"]["reason"] == "Enough"
        assert [recorded.event.type for recorded in await gateway.parts.log.load(player.id)].count(
            "stop_requested"
        ) == 1
        state = await player.state()
        await player.append(ending.stopped(state, by="x", reason=None, at=state.last_at))
        last = await stop(ada, player)
        assert (last.status_code, last.json()["status"]) == (200, "stopped")

    async def test_a_stranger_stops_nothing_that_runs(
        self, ada: httpx.AsyncClient, ben: httpx.AsyncClient, gateway: Gateway
    ) -> None:
        player = await running(ada, gateway)
        async with asyncio.timeout(SECONDS):  # only then the shortest way to a stop is open
            while not gateway.parts.lanes.runs(player.id, None):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert (await stop(ben, player)).status_code == 404
        assert "stop_requested" not in [r.event.type for r in await gateway.parts.log.load(player.id)]

    async def test_both_ways_to_ask_reach_the_fault_point_once(
        self,
        ada: httpx.AsyncClient,
        root: httpx.AsyncClient,
        gateway: Gateway,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        reached: list[Point] = []
        monkeypatch.setattr(commands, "reach", reached.append)
        monkeypatch.setattr(commands, "FORCE_WAIT", 0.0)
        await stop(ada, await running(ada, gateway))
        assert reached == [Point.GATEWAY_REQUESTED, Point.GATEWAY_STOP_STORED]
        reached.clear()
        player = await running(ada, gateway)
        await root.post(f"/v1/admin/executions/{player.id}/force-stop", json={"reason": "It hangs"})
        assert reached == [Point.GATEWAY_REQUESTED, Point.GATEWAY_STOP_STORED, Point.GATEWAY_FORCED]

    async def test_one_that_has_completed_says_so(self, ada: httpx.AsyncClient, gateway: Gateway) -> None:
        player = await running(ada, gateway)
        await player.complete("outline", "x")
        await player.finish("outline")
        answer = await stop(ada, player)
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")

    async def test_it_is_asked_to_stop_before_its_history_is_read(
        self, ada: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A long history delays no stop."""
        player = await running(ada, gateway)
        read = asyncio.Event()
        load = ExecutionLog.load

        async def slow(self: ExecutionLog, execution_id: str, after: int = 0) -> Sequence[Recorded]:
            await read.wait()
            return await load(self, execution_id, after)

        monkeypatch.setattr(ExecutionLog, "load", slow)
        async with (
            asyncio.timeout(SECONDS),
            gateway.parts.log.follow(player.id) as follower,
            asyncio.TaskGroup() as group,
        ):
            follower.position = (await gateway.parts.log.last(player.id) or pytest.fail("it is there")).seq
            answer = group.create_task(stop(ada, player))
            (found,) = await follower.next()
            read.set()
        assert found.event.type == "stop_requested"
        assert (answer.result().status_code, answer.result().json()["status"]) == (202, "stopping")

    async def test_one_whose_history_this_release_can_not_read_is_asked_to_stop_all_the_same(
        self, ada: httpx.AsyncClient, ben: httpx.AsyncClient, gateway: Gateway
    ) -> None:
        player = await running(ada, gateway)
        seq = await player.append(make.node_started("parts/0"))
        headers = {GUARD: str(seq), GUARD_SUBJECT: subjects.aggregate(player.id)}
        subject = subjects.event_subject(player.id, "of_tomorrow")
        await gateway.parts.js.publish(subject, b'{"type": "of_tomorrow", "version": 9}', headers=headers)
        stranger = await stop(ben, player)
        assert stranger.status_code == 404
        asked = subjects.event_subject(player.id, "stop_requested")
        assert await gateway.parts.log.latest([asked]) == []
        for _ in range(2):  # asking again adds nothing
            answer = await stop(ada, player, reason="Enough")
            assert (answer.status_code, answer.json()["code"]) == (503, "history_unreadable")
            assert answer.json()["detail"] == commands.STOP_STORED
            (found,) = await gateway.parts.log.latest([asked])
            assert found.after == seq + 1
        assert (await stop(ben, player)).status_code == 404

    async def test_fifty_at_once_ask_once(self, ada: httpx.AsyncClient, gateway: Gateway) -> None:
        player = await running(ada, gateway)
        answers = await asyncio.gather(*(stop(ada, player) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {202}
        types = [recorded.event.type for recorded in await gateway.parts.log.load(player.id)]
        assert types.count("stop_requested") == 1


class TestForce:
    async def test_its_owner_has_to_wait(self, ada: httpx.AsyncClient, gateway: Gateway) -> None:
        player = await running(ada, gateway)
        assert (await stop(ada, player, force=True)).json()["status"] == "stopping"
        answer = await stop(ada, player, force=True)
        assert (answer.status_code, answer.json()["code"]) == (409, "force_too_early")
        assert 0 < int(answer.headers["retry-after"]) <= 10

    async def test_one_that_nobody_has_is_ended_at_once_and_says_that_it_was_forced(
        self, root: httpx.AsyncClient, ada: httpx.AsyncClient, gateway: Gateway
    ) -> None:
        player = await queued(ada, gateway)
        answer = await root.post(f"/v1/admin/executions/{player.id}/force-stop", json={"reason": "No"})
        assert (answer.status_code, answer.json()["status"]) == (200, "stopped")
        assert (await end(player)).stop.force

    async def test_without_an_executor_it_ends_with_what_was_heard_last(
        self,
        root: httpx.AsyncClient,
        ada: httpx.AsyncClient,
        gateway: Gateway,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(commands, "FORCE_WAIT", 0.2)
        player = await running(ada, gateway)
        await player.begin("parts/0")
        await player.say("outline", 0, "Hot ", used=1)
        await player.say("outline", 4, "tea", used=2)
        answer = await root.post(f"/v1/admin/executions/{player.id}/force-stop", json={"reason": "It hangs"})
        assert (answer.status_code, answer.json()["status"]) == (200, "stopped")
        event = await end(player)
        assert event.stop.force
        texts = {partial.node: partial.output.text for partial in event.partials}
        assert texts == {"outline": "Hot tea", "parts/0": ""}
        found = {part.tokens.certainty: part.tokens.output for part in event.summary.usage}
        assert found == {Certainty.ESTIMATED: 2, Certainty.UNKNOWN: 0}

    async def test_an_executor_that_answers_has_the_last_word(
        self, root: httpx.AsyncClient, ada: httpx.AsyncClient, gateway: Gateway
    ) -> None:
        player = await running(ada, gateway)
        asked = gateway.parts.log.follow(player.id)
        async with asked as follower, asyncio.TaskGroup() as group:
            forced = group.create_task(
                root.post(f"/v1/admin/executions/{player.id}/force-stop", json={"reason": "It hangs"})
            )
            async with asyncio.timeout(SECONDS):
                while not any(recorded.event.type == "stop_requested" for recorded in await follower.next()):
                    pass
            state = await player.state()
            call = ending.OpenCall(node="outline", node_attempt=1, text=None, usage=(make.usage(output=9),))
            await player.append(
                ending.stopped(state, by="x", reason=None, at=state.last_at, open_calls=[call])
            )
        assert forced.result().json()["tokens"]["output"] == 9
        assert forced.result().json()["tokens"]["certainty"] == "measured"

    async def test_a_reason_is_asked_for(
        self, root: httpx.AsyncClient, ada: httpx.AsyncClient, gateway: Gateway
    ) -> None:
        player = await queued(ada, gateway)
        for body in ({}, {"reason": ""}, {"reason": 5}):
            answer = await root.post(f"/v1/admin/executions/{player.id}/force-stop", json=body)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["field"] == "reason"


async def test_a_users_first_few_go_to_now_and_the_next_when_one_ends(
    gateway: Gateway, database: Database
) -> None:

    person = Person(new_id(), f"lk_{'l' * 40}")
    add_person(database, "lena", person)
    async with gateway.client(person) as lena:
        players = [await queued(lena, gateway) for _ in range(gateway.parts.settings.now_per_user + 2)]
        lanes = [(await player.state()).lane for player in players]
        assert lanes == [subjects.NOW] * 8 + [subjects.later_lane(person.user_id)] * 2
        async with gateway.parts.log.follow(players[8].id) as promoted, asyncio.timeout(SECONDS):
            await stop(lena, players[3])
            found = await promoted.next()
        assert found[-1].event.type == "requeued"
        assert (await players[8].state()).lane == subjects.NOW
        assert (await players[9].state()).lane != subjects.NOW
