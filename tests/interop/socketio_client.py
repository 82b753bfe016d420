"""A client of python-socketio for servers of the contract (`examples/socketio_contract`, `socketio_contract.js`).

Prints a line for each case, in which ids are replaced, so that the lines of two servers can be compared.

usage: python socketio_client.py PORT polling|websocket|upgrade COUNT

COUNT is how many events are received at once. A client that polls refuses an answer with more than 16 packets, and Node
sends any number.
"""

import json
import queue
import re
import sys
import threading
import time

import socketio

PORT, MODE, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}[MODE]
LIMIT = 10
names = {}


def plain(value):
    if isinstance(value, bytes):
        return f"bytes {value.hex()[:40]} of {len(value)}"
    if isinstance(value, str) and len(value) > 1000:
        return f"text of {len(value)}"
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def show(name, value):
    text = json.dumps(plain(value), ensure_ascii=False, sort_keys=True)
    for sid, short in names.items():
        text = text.replace(sid, short)
    print(f"{name}: " + re.sub(r"(?<![\w-])[\w-]{20}(?![\w-])", "<id>", text).replace(f":{PORT}", ":<port>"))


def keep_order(engine):
    """Handles the events of a connection one behind the other.

    python-engineio handles each message in a thread of its own, and the end of the connection in another one. So on a
    busy machine an attachment could be handled before its packet, or the end before the last packet.
    """
    trigger, events = engine._trigger_event, queue.Queue()

    def handle():
        while True:
            event, values, is_handled = events.get()
            trigger(event, *values, run_async=False)
            is_handled.set()

    worker = threading.Thread(target=handle, daemon=True)
    worker.start()

    def trigger_in_order(event, *values, run_async=False, **more):
        # The event `connect` comes before all others.
        if event == "connect" or threading.current_thread() is worker:
            return trigger(event, *values, run_async=False, **more)
        is_handled = threading.Event()
        events.put([event, values, is_handled])
        if not run_async:
            is_handled.wait()

    engine._trigger_event = trigger_in_order


class Client:
    """A client whose events are read one by one."""

    def __init__(self, name, namespace="/", auth=None):
        self.io = socketio.Client(reconnection=False)
        keep_order(self.io.eio)
        self.namespace = namespace
        self.events = queue.Queue()
        self.io.on("*", lambda event, *values: self.events.put([event, *values]), namespace=namespace)
        self.io.on("question", lambda question: question + "!", namespace=namespace)
        self.io.on("vote", lambda: name, namespace=namespace)
        self.io.on("disconnect", lambda reason: self.events.put(["disconnect", reason]), namespace=namespace)
        self.io.connect(
            f"http://127.0.0.1:{PORT}", transports=TRANSPORTS, namespaces=[namespace], auth=auth, wait_timeout=LIMIT
        )
        names[self.io.get_sid(namespace)] = name

    def next(self, event):
        while True:
            found = self.events.get(timeout=LIMIT)
            if found[0] == event:
                return found[1:]

    def call(self, event, *values):
        return self.io.call(event, values or None, namespace=self.namespace, timeout=LIMIT)

    def emit(self, event, *values):
        self.io.emit(event, values or None, namespace=self.namespace)


def values():
    ana = Client("ana")
    show("welcome", ana.next("welcome"))
    show("echo", ana.call("echo", 1, "zwei", {"a": [True, None]}, "😀"))
    show("binary", ana.call("echo", {"b": b"\x01\x02"}, [b"x"], b""))
    ana.emit("echo", b"\xff\x00")
    show("binary event", ana.next("echo-back"))
    ana.emit("count", COUNT)
    assert [ana.next("number") for _ in range(COUNT)] == [[i] for i in range(COUNT)]
    ana.emit("blob", 1000000)
    show("blob", ana.next("blob"))
    ana.emit("bytes", 300)
    show("bytes", ana.next("bytes"))
    ana.emit("ask", "why")
    show("answer", ana.next("answer"))
    show("later", ana.call("later", 20))
    show("transport", ana.io.transport())
    ana.emit("forbidden")
    show("refused", ana.next("refused"))
    ana.emit("bye")
    show("bye", ana.next("disconnect"))
    ana.io.disconnect()


def rooms():
    ana, bo = Client("ana"), Client("bo")
    show("join", [ana.call("join", ["r2", "r1"]), bo.call("join", "r1")])
    ana.call("say-others", "r1", {"b": b"1"})
    show("said", bo.next("said"))
    bo.call("say", ["r1", "r2"], "hola")
    show("said", [ana.next("said"), bo.next("said")])
    show("poll", ana.call("poll", "r1"))
    show("who", ana.call("who", "r2"))
    # Disconnected by the server: over polling, the client may close its connection before its own packet is sent.
    bo.emit("bye")
    bo.next("disconnect")
    show("left", ana.next("left")[0]["rooms"])
    bo.io.disconnect()
    ana.emit("bye-close")
    show("bye-close", ana.next("disconnect"))
    ana.io.disconnect()


def namespaces():
    admin = Client("admin", "/admin", {"token": "secret", "user": "ana"})
    show("admin", admin.next("admin-ready"))
    show("echo", admin.call("echo", b"x"))
    admin.io.disconnect()
    tenant = Client("tenant", "/tenant-5")
    show("tenant", tenant.next("tenant"))
    tenant.io.disconnect()
    for namespace, auth in [("/admin", {"token": "x"}), ("/unknown", None)]:
        try:
            Client("nobody", namespace, auth)
            show(namespace, "connected")
        except socketio.exceptions.ConnectionError as error:
            show(namespace, str(error))


for part in [values, rooms, namespaces]:
    print(f"-- {part.__name__}")
    part()
    time.sleep(0.05)
print("-- end", flush=True)
