"""The fault proxy: what each condition does to the bytes of a link, and to nothing else."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from kvraft.scenarios.proxy import Conditions, Proxy

Test = Callable[[Proxy, "Far", str], Awaitable[None]]


class Far:
    """A server that answers each line with itself."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.received += data
                writer.write(data)
        except ConnectionError:
            pass
        self.lost += 1
        writer.close()


def on_a_link(test: Test, seed: int = 1) -> None:
    """Runs `test` with a proxy from a to b, and its port."""

    async def run() -> None:
        far = Far()
        server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
        proxy = Proxy(seed)
        port = await proxy.listen("a", "b", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            await asyncio.wait_for(test(proxy, far, port), 10)
        finally:
            await proxy.close()
            server.close()

    asyncio.run(run())


async def dial(port: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, number = port.rpartition(":")
    return await asyncio.open_connection(host, int(number))


async def echo(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes, seconds: float = 5) -> float:
    """How long `data` took there and back."""
    began = time.monotonic()
    connection[1].write(data)
    assert await asyncio.wait_for(connection[0].readexactly(len(data)), seconds) == data
    return time.monotonic() - began


async def is_silent(reader: asyncio.StreamReader, seconds: float = 0.2) -> bool:
    try:
        await asyncio.wait_for(reader.readexactly(1), seconds)
    except TimeoutError:
        return True
    return False


async def is_reset(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    try:
        return await asyncio.wait_for(connection[0].read(1), 5) == b""
    except ConnectionError:
        return True


def test_plain_links_pass_everything_and_count_it():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        data = bytes(range(256)) * 4000
        await echo(connection, data)
        assert far.received == data
        assert proxy.counts() == {
            "a->b": {"bytes": len(data), "connections": 1},
            "b->a": {"bytes": len(data), "connections": 0},
        }
        connection[1].close()
        while not far.lost:
            await asyncio.sleep(0.01)

    on_a_link(test)


def test_delays_add_up_and_keep_the_order():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        await echo(connection, b"x")
        proxy.set("a", "b", Conditions(delay=0.1, jitter=0.05))
        proxy.set("b", "a", Conditions(delay=0.05))
        assert 0.15 <= await echo(connection, b"y") < 2
        for number in range(50):
            connection[1].write(b"%03d" % number)
            await asyncio.sleep(0.001)
        expected = b"".join(b"%03d" % number for number in range(50))
        assert await connection[0].readexactly(150) == expected

    on_a_link(test)


def test_a_rate_holds_for_much_data():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        proxy.set("a", "b", Conditions(rate=1_000_000))
        assert await echo(connection, b"z" * 300_000) >= 0.25

    on_a_link(test)


def test_a_black_hole_in_one_direction_holds_bytes_back_until_it_is_gone():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        await echo(connection, b"1")
        proxy.set("b", "a", Conditions(hold=True))
        connection[1].write(b"2")
        assert await is_silent(connection[0])
        assert far.received == b"12", "the other direction is open"
        late = await dial(port)
        late[1].write(b"3")
        assert await is_silent(late[0])
        assert far.received == b"12", "a connection needs both directions"
        proxy.set("b", "a", Conditions())
        assert await connection[0].readexactly(1) == b"2"
        assert await late[0].readexactly(1) == b"3"

    on_a_link(test)


def test_what_closes_in_a_black_hole_is_not_known_on_the_other_side_before_it_is_gone():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        await echo(connection, b"1")
        proxy.set("a", "b", Conditions(hold=True))
        connection[1].write(b"last words")
        connection[1].close()
        await asyncio.sleep(0.2)
        assert (far.received, far.lost) == (b"1", 0)
        proxy.set("a", "b", Conditions())
        while not far.lost:
            await asyncio.sleep(0.01)
        assert far.received == b"1last words"

    on_a_link(test)


def test_a_black_hole_takes_only_so_much():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        await echo(connection, b"1")
        proxy.set("a", "b", Conditions(hold=True))
        data = b"q" * (12 << 20)
        connection[1].write(data)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection[1].drain(), 0.3)
        proxy.set("a", "b", Conditions())
        assert await connection[0].readexactly(len(data)) == data

    on_a_link(test)


def test_a_cut_resets_connections_and_new_ones_pass():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        await echo(connection, b"1")
        proxy.cut("a", "b")
        assert await is_reset(connection)
        await echo(await dial(port), b"2")
        while far.lost < 1:
            await asyncio.sleep(0.01)

    on_a_link(test)


def test_refused_connections_are_reset_and_old_ones_go_on():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        await echo(connection, b"1")
        proxy.set("a", "b", Conditions(refuse=True))
        assert await is_reset(await dial(port))
        await echo(connection, b"2")
        proxy.set("a", "b", Conditions())
        await echo(await dial(port), b"3")

    on_a_link(test)


def test_half_open_ends_the_far_side_alone():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        connection = await dial(port)
        await echo(connection, b"1")
        proxy.set("a", "b", Conditions(half_open=True))
        while far.lost < 1:
            await asyncio.sleep(0.01)
        connection[1].write(b"2")
        assert await is_silent(connection[0])
        proxy.set("a", "b", Conditions())
        assert await is_reset(connection)
        await echo(await dial(port), b"3")

    on_a_link(test)


def test_garbage_is_drawn_from_the_seed():
    found: list[bytes] = []

    async def test(proxy: Proxy, far: Far, port: str) -> None:
        proxy.set("a", "b", Conditions(garbage=True))
        connection = await dial(port)
        connection[1].write(b"what was said")
        while not far.received.endswith(b"what was said"):
            await asyncio.sleep(0.01)
        found.append(bytes(far.received))

    for seed in (1, 1, 2):
        on_a_link(test, seed)
    assert found[0] == found[1] != found[2]
    assert 50 <= len(found[0]) - len(b"what was said") < 500


def test_where_nobody_listens_the_dialer_is_reset():
    async def run() -> None:
        proxy = Proxy()
        port = await proxy.listen("a", "b", "127.0.0.1:1")
        assert await is_reset(await dial(port))
        await proxy.close()

    asyncio.run(run())


def test_a_proxy_that_was_held_up_forgets_those_who_gave_up_and_says_so():
    async def test(proxy: Proxy, far: Far, port: str) -> None:
        proxy.start(proxy.watch_itself())
        await asyncio.sleep(0.1)
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", int(port.rpartition(":")[2]))):
                pass
        time.sleep(0.3)  # nothing runs on this loop meanwhile
        await echo(await dial(port), b"1")
        assert far.lost == 0, "nobody was connected who had gone"
        assert any(seconds > 0.2 for _, seconds in proxy.late)

    on_a_link(test)


def test_conditions_that_cannot_be():
    for wrong in ({"delay": -1.0}, {"rate": float("nan")}, {"jitter": float("inf")}):
        with pytest.raises(ValueError, match="must be 0 or more"):
            Conditions(**wrong)
