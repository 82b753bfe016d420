"""`websockets` of PyPI as a client. See ws_client.js, which does the same with `ws` of npm: the argument and the output
are the same."""

import asyncio
import json
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

LENGTHS = [0, 1, 2, 124, 125, 126, 127, 128, 65535, 65536, 65537, 1024 * 1024 - 1, 1024 * 1024]
REASONS = [
    (1000, ""), (1000, "bye"), (1001, "going"), (1002, "a"), (1003, "b"), (1007, "c"), (1008, "d"), (1009, "e"),
    (1010, "f"), (1011, "g"), (1012, "h"), (1013, "i"), (1014, "j"), (3000, "k"), (3999, "l"), (4000, "m"),
    (4999, "¡adiós! 🎉"), (4001, "ñ" * 61 + "n"),
]  # fmt: skip


async def open_connection(port, path="/", **options):
    options = {"compression": None, "proxy": None, **options}
    return await connect(f"ws://127.0.0.1:{port}{path}", **options)


async def close(ws, code, reason=""):
    """Closes, and prints what the server must have received."""
    print(f"closed {code} {reason}")
    await ws.close(code, reason)
    assert (ws.protocol.close_rcvd.code, ws.protocol.close_rcvd.reason) == (code, "")


async def echo(ws, message):
    await ws.send(message)
    assert await ws.recv() == message, f"{len(message)} characters or bytes"


async def send_fragments(ws, pieces, **options):
    """One message in fragments, with a ping behind each but the last. Returns what waits for the pongs."""
    pongs = []

    async def with_pings():
        for i, piece in enumerate(pieces):
            yield piece
            if i + 1 < len(pieces):
                pongs.append(await ws.ping(f"between {i}"))

    await ws.send(with_pings(), **options)
    return pongs


async def texts_and_binary_messages_of_all_lengths(port):
    ws = await open_connection(port)
    for length in LENGTHS:
        await echo(ws, os.urandom(length))
        await echo(ws, "x" * length)
        await echo(ws, "€🎉" * (length // 7))
    await close(ws, 1000, "lengths")


async def many_messages_before_the_first_answer_is_read(port):
    ws = await open_connection(port)
    for i in range(1000):
        await ws.send(f"message {i}")
    for i in range(1000):
        assert await ws.recv() == f"message {i}"
    await close(ws, 1000, "many")


async def fragments_with_pings_between_them(port):
    ws = await open_connection(port)
    euro = "€🎉".encode()
    table = [
        [b"a", b"b"],
        [b"", b"", b"x", b""],
        [b"x" * 125, b"y" * 126, b"z" * 65536],
        # Each byte of a character in a fragment of its own.
        [euro[i : i + 1] for i in range(len(euro))],
    ]
    for pieces in table:
        whole = b"".join(pieces)
        for is_text in [True, False]:
            pongs = await send_fragments(ws, pieces, text=is_text)
            assert await ws.recv() == (whole.decode() if is_text else whole)
            await asyncio.gather(*pongs)
    await close(ws, 1000, "fragments")


async def pings_are_answered_with_their_payload(port):
    ws = await open_connection(port)
    for payload in ["", "x", "y" * 125]:
        await (await ws.ping(payload))
    await ws.pong("unasked")
    await echo(ws, "still here")
    await close(ws, 1000, "pings")


async def close_codes_and_reasons_from_the_client(port):
    for code, reason in REASONS:
        await close(await open_connection(port), code, reason)


async def a_connection_that_is_lost(port):
    ws = await open_connection(port)
    ws.transport.abort()
    print("closed 1006 ")


async def a_hundred_connections_at_once(port):
    async def converse(i):
        ws = await open_connection(port)
        for turn in range(5):
            await echo(ws, f"{turn} {i} " + "x" * (i * 10))
        await close(ws, 4000 + i, f"connection {i}")

    await asyncio.gather(*(converse(i) for i in range(100)))


async def close_codes_and_reasons_from_the_server(port):
    for code, reason in REASONS:
        ws = await open_connection(port)
        await ws.send(f"please close {code} {reason}")
        try:
            await ws.recv()
            assert False, "not closed"
        except ConnectionClosed as error:
            assert (error.rcvd.code, error.rcvd.reason) == (code, reason)
        # `websockets` answers with the same code and reason.
        print(f"closed {code} {reason}")


async def pings_from_the_server(port):
    ws = await open_connection(port)
    for payload in ["", "hola", "y" * 125]:
        await ws.send(f"please ping {payload}")
        assert await ws.recv() == f"pong {payload}"
    await close(ws, 1000, "pinged")


async def subprotocols(port):
    ws = await open_connection(port, subprotocols=["three", "two", "one"])
    assert ws.subprotocol == "two"
    await close(ws, 1000, "subprotocol")
    ws = await open_connection(port, subprotocols=["three"])
    assert ws.subprotocol is None
    await close(ws, 1000, "no subprotocol")


async def headers_of_the_request_and_of_the_response(port):
    ws = await open_connection(port, "/?a=b", additional_headers={"X-Question": "42"}, compression="deflate")
    assert ws.response.headers["X-Answer"] == "42"
    assert "Sec-WebSocket-Extensions" not in ws.response.headers
    await ws.send("please answer")
    assert await ws.recv() == "42"
    await close(ws, 1000, "headers")


async def origins_and_a_refusal(port):
    await close(await open_connection(port, origin=f"http://127.0.0.1:{port}"), 1000, "origin")
    for path, origin, body in [("/", "http://example.com", None), ("/refused", None, b"not for you\n")]:
        try:
            await open_connection(port, path, origin=origin)
            assert False, "not refused"
        except InvalidStatus as error:
            assert error.response.status_code == 403
            assert body in (None, error.response.body)


async def compression(row):
    wanted = row["client"]
    bits = {name: wanted[name] if wanted[name] < 15 else None for name in ["server_max_window_bits"]}
    bits["client_max_window_bits"] = wanted["client_max_window_bits"] if wanted["client_max_window_bits"] < 15 else True
    takeover = {name: wanted[name] for name in ["server_no_context_takeover", "client_no_context_takeover"]}
    ws = await open_connection(row["port"], extensions=[ClientPerMessageDeflateFactory(**takeover, **bits)])
    print("agreed", ws.response.headers["Sec-WebSocket-Extensions"])

    async def count():
        await ws.send("please count")
        return [int(number) for number in (await ws.recv()).split(" ")[1:]]

    for length in LENGTHS:
        await echo(ws, "x" * length)
        await echo(ws, os.urandom(length))
    await echo(ws, "añb🎉" * 10000)
    # The same message again and again: short only if the context is kept.
    same = os.urandom(200)
    before = await count()
    for _ in range(20):
        await echo(ws, same)
    after = await count()
    print("repeated", after[0] - before[0], after[1] - before[1])
    # A message that repeats itself at a distance of 4,000 bytes: short only if the window is larger.
    before = await count()
    await echo(ws, os.urandom(4000) * 10)
    after = await count()
    print("distant", after[0] - before[0], after[1] - before[1])
    # Fragments of a compressed message, with pings between them.
    pieces = ["hola " * 100, "", "a" * 70000, "adiós"]
    for _ in range(3):
        pongs = await send_fragments(ws, pieces)
        assert await ws.recv() == "".join(pieces)
        await asyncio.gather(*pongs)
    await close(ws, 1000, row["name"])


PLAIN = [
    texts_and_binary_messages_of_all_lengths,
    many_messages_before_the_first_answer_is_read,
    fragments_with_pings_between_them,
    pings_are_answered_with_their_payload,
    close_codes_and_reasons_from_the_client,
    a_connection_that_is_lost,
    a_hundred_connections_at_once,
]
COMMANDS = [
    close_codes_and_reasons_from_the_server,
    pings_from_the_server,
    subprotocols,
    headers_of_the_request_and_of_the_response,
    origins_and_a_refusal,
]


async def main(config):
    for check in {"plain": PLAIN, "commands": COMMANDS, "deflate": []}[config["kind"]]:
        await check(config["port"])
        print(f"ok {check.__name__}")
    for row in config.get("rows", []):
        await compression(row)
        print(f"ok compression: {row['name']}")


asyncio.run(asyncio.wait_for(main(json.loads(sys.argv[1])), 240))
