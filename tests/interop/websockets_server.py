"""`websockets` of PyPI as a server. See ws_server.js, which does the same with `ws` of npm: the argument, the output
and the commands are the same."""

import asyncio
import http
import json
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


def extensions(wanted):
    if wanted is None:
        return []
    # 15 is the default and need not be negotiated.
    names = ["server_max_window_bits", "client_max_window_bits"]
    bits = {name: wanted[name] if wanted[name] < 15 else None for name in names}
    takeover = {name: wanted[name] for name in ["server_no_context_takeover", "client_no_context_takeover"]}
    return [ServerPerMessageDeflateFactory(**takeover, **bits)]


def refuse(connection, request):
    if request.path == "/refused":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not for you\n")
    return None


async def obey(ws, command):
    verb, _, rest = command.partition(" ")
    if verb == "close":
        code, _, reason = rest.partition(" ")
        await ws.close(int(code), reason)
    elif verb == "ping":
        await (await ws.ping(rest))
        await ws.send(f"pong {rest}")
    elif verb == "answer":
        await ws.send(ws.request.headers.get("X-Question", "none"))
    elif verb == "extensions":
        await ws.send(ws.response.headers.get("Sec-WebSocket-Extensions", "none"))
    elif verb == "fragment":

        async def pieces():
            for i, piece in enumerate(["frag", "men", "ted"]):
                yield piece
                if i < 2:
                    await ws.ping(f"between {i}")

        await ws.send(pieces())


async def converse(ws):
    try:
        async for message in ws:
            if isinstance(message, str) and message.startswith("please "):
                await obey(ws, message.removeprefix("please "))
            else:
                await ws.send(message)
    except ConnectionClosed:
        pass
    await ws.wait_closed()
    received = ws.protocol.close_rcvd
    print(f"closed {received.code} {received.reason}" if received else "closed 1006 ", flush=True)


def choose_subprotocol(connection, offered):
    return next((protocol for protocol in ["one", "two"] if protocol in offered), None)


async def main(rows):
    options = {"compression": None, "select_subprotocol": choose_subprotocol, "process_request": refuse}
    servers = [await serve(converse, "127.0.0.1", 0, extensions=extensions(row), **options) for row in rows]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    # Until the standard input ends.
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main(json.loads(sys.argv[1])))
