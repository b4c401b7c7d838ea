"""The connection against the page's own server: who is let in, what is answered, and what the loss of it means."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

from scancontrol.daemon.page.hub import Asked, LiveHub, PartialView
from scancontrol.daemon.page.messages import Answer, CheckPlan, Done, GetFrame, Inquiry, ListPlans, Pause, Refusal
from scancontrol.daemon.page.server import LiveServer
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LinkError, OrderRefused, RemoteProtocolError
from scancontrol.session.connection import Connection
from scancontrol.session.finding import Door, find_door


class Desk:
    """Answers as a test says."""

    def __init__(self, answer: Callable[[Inquiry], Answer | bytes]) -> None:
        self.answer = answer

    def ready(self, wanted: GetFrame) -> bool:
        return True


@pytest.fixture
def hub() -> LiveHub:
    hub = LiveHub()
    hub.publish_status(Snapshot(pid=7))
    return hub


@pytest.fixture
def server(hub: LiveHub) -> Iterator[LiveServer]:
    with LiveServer(hub) as running:
        yield running


def on(door: Door, use: Callable[[Connection], Coroutine[Any, Any, None]]) -> None:
    """Use an open connection."""

    async def run() -> None:
        connection = await Connection.open(door, 5)
        try:
            await use(connection)
        finally:
            await connection.close()

    asyncio.run(run())


def test_a_connection_begins_with_who_we_are_and_how_the_daemon_is(server: LiveServer) -> None:
    async def use(connection: Connection) -> None:
        assert connection.role == "observer"
        assert connection.status.pid == 7

    on(find_door(server.observer_url), use)


def test_a_wrong_token_and_an_empty_address_are_told_apart(server: LiveServer) -> None:
    wrong = server.url.partition("#")[0] + "#token=" + "x" * 43
    with pytest.raises(LinkError, match="does not let us in: the token is missing or not this session's"):
        asyncio.run(Connection.open(find_door(wrong), 5))
    server.stop()
    with pytest.raises(LinkError, match="no daemon answers"):
        asyncio.run(Connection.open(find_door(server.url), 5))


def test_answers_find_whoever_asked_in_whatever_order_they_come(hub: LiveHub, server: LiveServer) -> None:
    hub.desk = Desk(lambda inquiry: Done(request=inquiry.request or 0, number=9))

    def carry_out() -> None:
        asked: Asked = hub.commands.get(timeout=5)
        asked.refused(OrderRefused("nothing is scanned now"))

    thread = threading.Thread(target=carry_out)

    async def use(connection: Connection) -> None:
        pausing = asyncio.create_task(connection.ask(Pause()))
        answer = await connection.ask(ListPlans())
        assert isinstance(answer, Done)
        assert answer.number == 9
        thread.start()
        with pytest.raises(OrderRefused, match="nothing is scanned now"):
            await pausing

    on(find_door(server.url), use)
    thread.join(5)


def test_a_refusal_keeps_its_quantity_value_limit_and_remedy(hub: LiveHub, server: LiveServer) -> None:
    def refuse(inquiry: Inquiry) -> Answer:
        return Refusal(
            code="refused",
            text="",
            request=inquiry.request,
            quantity="a",
            value="1",
            limit="is high",
            remedy="lower it",
        )

    hub.desk = Desk(refuse)

    async def use(connection: Connection) -> None:
        with pytest.raises(InvalidInput, match="a = 1 is high; lower it") as refused:
            await connection.ask(CheckPlan(plan="a"))
        assert (refused.value.quantity, refused.value.remedy) == ("a", "lower it")

    on(find_door(server.url), use)


def test_whoever_waits_hears_that_the_daemon_is_gone(hub: LiveHub, server: LiveServer) -> None:
    async def use(connection: Connection) -> None:
        asking = asyncio.create_task(connection.ask(Pause()))
        waiting = asyncio.create_task(connection.until(lambda status: status.pid == 8))
        await asyncio.to_thread(hub.commands.get, timeout=5)
        await asyncio.to_thread(server.stop)
        for task in (asking, waiting):
            with pytest.raises(LinkError, match="is gone"):
                await task
        with pytest.raises(LinkError, match="is gone"):
            _ = connection.status

    on(find_door(server.url), use)


def test_a_frame_that_is_none_ends_the_connection_and_not_the_script(hub: LiveHub, server: LiveServer) -> None:
    hub.desk = Desk(lambda inquiry: b"no frame")

    async def use(connection: Connection) -> None:
        with pytest.raises(LinkError, match="binary message") as lost:
            await connection.ask(GetFrame(recording="a.hspy", frame=0))
        assert isinstance(connection._failure, RemoteProtocolError), lost

    on(find_door(server.url), use)


def test_a_picture_of_one_kind_is_not_lost_to_one_of_another_that_came_right_behind_it(
    hub: LiveHub, server: LiveServer
) -> None:
    async def use(connection: Connection) -> None:
        image = np.ones((4, 4), np.float32)
        hub.publish_truth(image)
        hub.publish_partial(PartialView(1, 0, image, np.ones((4, 4), np.uint8), True, 16, "path"))
        for _ in range(3):  # statuses later both have come, and none was looked at
            before = connection.told
            hub.publish_status(Snapshot(pid=7))
            await connection.until(lambda status, before=before: connection.told > before)  # type: ignore[misc]
        seen = [await connection.next_picture(lambda status: False) for _ in range(2)]
        assert {picture.kind for picture in seen if picture is not None} == {"truth", "complete"}

    on(find_door(server.url), use)


def test_a_truth_that_is_taken_back_is_no_picture_and_holds_up_none_behind_it(hub: LiveHub, server: LiveServer) -> None:
    async def use(connection: Connection) -> None:
        looking = asyncio.create_task(connection.next_picture(lambda status: False))
        image = np.ones((4, 4), np.float32)
        for of in range(4):  # more than are on their way without a word of ours
            hub.publish_truth(None, of=(1, of))
            for _ in range(3):  # it has come with the statuses after it
                before = connection.told
                hub.publish_status(Snapshot(pid=7))
                await connection.until(lambda status, before=before: connection.told > before)  # type: ignore[misc]
        assert not looking.done()
        hub.publish_partial(PartialView(1, 0, image, np.ones((4, 4), np.uint8), True, 16, "path"))
        picture = await looking
        assert picture is not None
        assert picture.kind == "complete"

    on(find_door(server.url), use)


def test_a_mistake_in_taking_a_message_ends_the_connection_and_nobody_waits_for_ever(
    hub: LiveHub, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(connection: Connection) -> None:
        monkeypatch.setattr(connection, "_take_text", lambda message: {}["nothing"])
        hub.publish_status(Snapshot(pid=8))
        with pytest.raises(LinkError, match="is gone"):
            await connection.until(lambda status: status.pid == 8)

    on(find_door(server.url), use)


def test_pictures_are_sent_to_who_asks_for_them_the_newest_each_time(hub: LiveHub, server: LiveServer) -> None:
    def publish(frame: int) -> None:
        image = np.full((4, 4), frame, np.float32)
        hub.publish_partial(PartialView(1, frame, image, np.ones((4, 4), np.uint8), True, 16, "path"))

    async def use(connection: Connection) -> None:
        for frame in range(6):  # nobody looks: no more than two are on their way
            publish(frame)
            await connection.until(lambda status: True)
        seen = [await connection.next_picture(lambda status: False)]
        publish(6)
        while seen[-1] is not None and seen[-1].frame != 6:
            seen.append(await connection.next_picture(lambda status: False))
        assert np.all(seen[-1].image == 6)
        ending = asyncio.create_task(connection.next_picture(lambda status: True))
        while not ending.done():  # the last picture may be on its way while a few more statuses come
            before = connection.told
            hub.publish_status(Snapshot(pid=7))
            await connection.until(lambda status, before=before: connection.told > before)  # type: ignore[misc]
        assert await ending is None

    on(find_door(server.url), use)
