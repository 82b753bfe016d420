// A client of npm for servers of the contract (`examples/socketio_contract`, `socketio_contract.js`). Prints a line for
// each case, in which ids are replaced, so that the lines of two servers can be compared.
//
// usage: node socketio_client.js PORT 4|2 polling|websocket|upgrade|recovery
"use strict";
const assert = require("node:assert/strict");
const net = require("node:net");

const [port, version, mode] = [Number(process.argv[2]), process.argv[3], process.argv[4]];
const io = require(version === "2" ? "socket.io-client-v2" : "socket.io-client");
const transports = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"], recovery: ["websocket"] }[mode];
const LIMIT = 10000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The names of sockets, by their ids. */
const names = new Map();
const named = (text) => {
  for (const [id, name] of names) text = text.replaceAll(id, name);
  return text.replace(/(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{20}(?![A-Za-z0-9_-])/g, "<id>").replaceAll(`:${port}`, ":<port>");
};
const bytes = (key, value) => {
  // A Buffer has been made JSON before it gets here.
  if (value?.type === "Buffer") return `bytes ${Buffer.from(value.data).toString("hex").slice(0, 40)} of ${value.data.length}`;
  if (value instanceof ArrayBuffer) return `bytes ${Buffer.from(value).toString("hex").slice(0, 40)} of ${value.byteLength}`;
  if (typeof value === "string" && value.length > 1000) return `text of ${value.length}`;
  return value;
};
const show = (name, value) => console.log(named(`${name}: ${JSON.stringify(value, bytes)}`));

function within(what, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`nothing comes: ${what}`)), LIMIT);
    start((...values) => {
      clearTimeout(timer);
      resolve(values);
    });
  });
}
const next = (socket, event) => within(event, (done) => socket.once(event, done));
const call = (socket, event, ...values) => within(`ack of ${event}`, (done) => socket.emit(event, ...values, done));

const url = (namespace = "/", at = port) => `http://127.0.0.1:${at}${namespace}`;
/** Opens a socket on a connection of its own. */
const open = (namespace, options = {}, at) => io(url(namespace, at), { transports, forceNew: true, ...options });

/** A socket in `/` that has got its welcome. */
async function join(name, options, at) {
  const socket = open("/", options, at);
  const [welcome] = await next(socket, "welcome");
  names.set(socket.id, name);
  assert.equal(welcome.id, socket.id);
  return socket;
}

/** All events of a name up to now, and then. */
function collect(socket, event) {
  const events = [];
  socket.on(event, (...values) => events.push(values));
  return events;
}

async function upgraded(socket) {
  if (mode !== "upgrade") return;
  const { engine } = socket.io;
  if (engine.transport.name !== "websocket") await within("upgrade", (done) => engine.once("upgrade", done));
}

async function values() {
  const socket = await join("ana");
  show("welcome", (await next(open("/"), "welcome"))[0]);
  show("echo", await call(socket, "echo", 1, "zwei", { a: [true, null, 1.5] }, "", [], {}, "\u0000\u2028😀"));
  show("no arguments", await call(socket, "echo"));
  socket.emit("echo", "plain", { b: 2 });
  show("echo-back", await next(socket, "echo-back"));
  await upgraded(socket);
  show("binary", await call(socket, "echo", { b: Buffer.from([1, 2, 3]), c: [Buffer.from("x"), { d: Buffer.alloc(0) }] }, Buffer.from("last")));
  socket.emit("echo", Buffer.from([255, 0, 254]));
  show("binary event", await next(socket, "echo-back"));
  show("long text", await call(socket, "echo", "ñ".repeat(100000)));
  show("ten attachments", await call(socket, "echo", ...Array.from({ length: 10 }, (_, i) => Buffer.from([i]))));
  socket.emit("bytes", 300);
  show("bytes", await next(socket, "bytes"));
  socket.emit("bytes", 1000000);
  show("many bytes", (await next(socket, "bytes"))[0].length ?? "ArrayBuffer");
  socket.emit("blob", 1000000);
  show("blob", await next(socket, "blob"));
  const numbers = collect(socket, "number");
  socket.emit("count", 1000);
  await call(socket, "later", 10);
  while (numbers.length < 1000) await sleep(10);
  assert.deepEqual(numbers.map(([i]) => i), Array.from({ length: 1000 }, (_, i) => i));
  show("count", numbers.length);
  socket.emit("ticks", 20);
  const ticks = collect(socket, "tick");
  show("tick-end", await next(socket, "tick-end"));
  if (mode === "websocket") show("the first tick", ticks[0]);
  show("later", await call(socket, "later", 20));
  const { headers, query, address, xdomain, auth } = (await call(socket, "handshake"))[0];
  delete query.t;
  show("handshake", { query, address, xdomain, auth, names: Object.keys(headers).filter((name) => name !== "cookie").sort() });
  const stats = await join("count");
  stats.emit("silent");
  stats.emit("unknown event", 1);
  stats.emit("echo", 1);
  await next(stats, "echo-back");
  show("stats", await call(stats, "stats"));
  stats.emit("forbidden");
  show("refused", await next(stats, "refused"));
  show("stats again", await call(stats, "stats"));
  show("nodes", [await call(stats, "nodes"), await call(stats, "announce", "x")]);
  for (const each of [socket, stats]) each.disconnect();
}

async function rooms() {
  const [ana, bo, eva] = [await join("ana"), await join("bo"), await join("eva")];
  show("join", [await call(ana, "join", ["r2", "r1"]), await call(bo, "join", "r1"), await call(bo, "join", "r1"), await call(eva, "join", ["r2", "r3"])]);
  show("leave", [await call(eva, "leave", "r3"), await call(eva, "leave", "nowhere")]);
  const all = [ana, bo, eva];
  const received = all.map((socket) => collect(socket, "said"));
  const shouted = all.map((socket) => collect(socket, "shouted"));
  const settle = async () => {
    for (const socket of all) await call(socket, "later", 30);
    await sleep(30);
  };
  await call(ana, "say", "r1", "one");
  await call(ana, "say-others", ["r1", "r2"], "two");
  await call(bo, "say-except", "r1", "r2", "three");
  await call(eva, "say", ["r1", "r2"], { four: Buffer.from("4") });
  await call(eva, "say", bo.id, "five");
  await call(eva, "say", "empty", "six");
  await settle();
  show("said", received);
  await call(ana, "shout", 1);
  await call(ana, "shout-all", 2);
  await call(ana, "shout-local", 3);
  await settle();
  // Another test of the same server would be heard, too.
  show("shouted", shouted);
  await call(ana, "set", { x: [1] });
  await call(bo, "set", "text");
  const who = (await call(ana, "who", "r1"))[0].concat((await call(ana, "who", "r2"))[0]);
  show("who", who.map((entry) => JSON.stringify({ ...entry, id: names.get(entry.id) })).sort());
  show("nobody", await call(ana, "who", "nowhere"));
  await call(bo, "move", "r2", "moved");
  show("moved", [await call(ana, "join", []), await call(eva, "join", [])]);
  ana.on("question", (question, ack) => ack(`${question}!`, "ignored"));
  ana.emit("ask", "why");
  show("answer", await next(ana, "answer"));
  bo.emit("ask", "why");
  show("no answer", await next(bo, "answer"));
  ana.on("vote", (ack) => ack("yes"));
  bo.on("vote", (ack) => ack("no"));
  show("poll", await call(eva, "poll", "r1"));
  bo.off("vote");
  show("poll of one", await call(eva, "poll", "r1"));
  show("poll of nobody", await call(eva, "poll", "nowhere"));

  const lefts = collect(eva, "left");
  const disconnects = collect(bo, "disconnect");
  bo.emit("bye");
  await next(bo, "disconnect");
  await settleOne(eva);
  show("bye", [disconnects.map(([reason]) => reason), lefts]);
  const [one, other] = [await join("one"), await join("other")];
  await call(one, "join", "kicked");
  await call(other, "join", "kicked");
  const both = Promise.all([one, other].map((socket) => next(socket, "disconnect")));
  eva.emit("kick", "kicked", true);
  show("kick", (await both).map(([reason]) => reason));
  const third = await join("third");
  const end = next(third, "disconnect");
  third.emit("bye-close");
  show("bye-close", (await end)[0]);
  const fourth = await join("fourth");
  const own = next(fourth, "disconnect");
  fourth.disconnect();
  show("own disconnect", (await own)[0]);
  const fifth = await join("fifth");
  const gone = next(fifth, "disconnect");
  fifth.io.engine.close();
  show("engine close", (await gone)[0]);
  fifth.disconnect();
  await settleOne(eva);
  show("lefts", lefts.map(([left]) => named(JSON.stringify(left))).sort());
  for (const socket of all) socket.disconnect();
}

async function settleOne(socket) {
  await call(socket, "later", 50);
  await sleep(50);
}

async function namespaces() {
  const auth = (values) =>
    version === "2" ? [`/admin?${new URLSearchParams(values)}`, {}] : ["/admin", { auth: values }];
  const admin = open(...auth({ token: "secret", user: "ana" }));
  show("admin-ready", await next(admin, "admin-ready"));
  show("admin echo", await call(admin, "echo", Buffer.from("x"), 7));
  const refused = open(...auth({ token: "wrong" }));
  const [error] = await next(refused, version === "2" ? "error" : "connect_error");
  show("not authorized", [error.message ?? error, error.data]);
  const nobody = open(...auth({ token: "secret" }));
  show("no user", await next(nobody, "admin-ready"));
  const unknown = open("/unknown");
  const [invalid] = await next(unknown, version === "2" ? "error" : "connect_error");
  show("unknown", [invalid.message ?? invalid, invalid.data]);
  const tenants = [open("/tenant-1"), open("/tenant-1"), open("/tenant-22")];
  show("tenants", await Promise.all(tenants.map((socket) => next(socket, "tenant"))));
  tenants.forEach((socket, i) => names.set(socket.id, `tenant ${i}`));
  const shouted = tenants.concat(admin).map((socket) => collect(socket, "shouted"));
  await call(tenants[0], "shout-all", "hola");
  await call(admin, "shout-all", "hey");
  await call(tenants[2], "join", "room");
  await call(tenants[0], "join", "room");
  const said = tenants.map((socket) => collect(socket, "said"));
  await call(tenants[1], "say", "room", "psst");
  // An answer comes after the events before it.
  for (const socket of tenants.concat(admin)) await call(socket, "echo");
  show("shouted", [shouted, said]);

  // Two namespaces on one connection.
  const manager = io(url("/"), { transports, forceNew: true });
  await next(manager, "welcome");
  const second = manager.io.socket("/tenant-3");
  show("same connection", [await next(second, "tenant"), second.io === manager.io]);
  second.disconnect();
  show("the other stays", await call(manager, "echo", 1));
  second.connect();
  show("back again", await next(second, "tenant"));
  if (version === "4") {
    const denied = io(url("/"), { transports, forceNew: true, reconnection: false, query: { deny: 1 } });
    const [error] = await next(denied, "connect_error");
    show("denied", [error.message, error.description?.status ?? typeof error.description]);
    const large = open("/", { reconnection: false });
    await next(large, "welcome");
    await upgraded(large);
    const end = next(large, "disconnect");
    large.emit("echo", "x".repeat(1100000));
    // The refusal of the message races with the end of the connection, at both servers.
    const [reason] = await end;
    show("too large", ["transport close", "transport error"].includes(reason) ? "transport close or error" : reason);
    large.disconnect();
  }
  for (const socket of [admin, refused, nobody, unknown, manager, second, ...tenants]) socket.disconnect();
}

/** A proxy whose connections can be cut. */
function proxy() {
  const pairs = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(port, "127.0.0.1");
    const pair = { client, upstream };
    pairs.add(pair);
    client.pipe(upstream);
    upstream.pipe(client);
    for (const socket of [client, upstream]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        pairs.delete(pair);
        client.destroy();
        upstream.destroy();
      });
    }
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const cut = () => [...pairs].forEach(({ client }) => client.resetAndDestroy());
      resolve({ port: server.address().port, cut, close: () => server.close() });
    });
  });
}

async function recovery() {
  const way = await proxy();
  const observer = await join("observer");
  // The client connects again when the test allows it.
  const ana = await join("ana", { reconnectionDelay: 500, reconnectionDelayMax: 500, randomizationFactor: 0 }, way.port);
  const id = ana.id;
  await call(ana, "join", ["room", "other"]);
  await call(ana, "set", { kept: true });
  const said = collect(ana, "said");
  const order = [];
  ana.on("connect", () => order.push("connect"));
  ana.on("said", (_, message) => order.push(typeof message === "string" ? message : "bytes"));
  await call(observer, "say", "room", "before");
  while (said.length < 1) await sleep(10);
  for (const round of [1, 2, 3]) {
    const gone = next(ana, "disconnect");
    const left = next(observer, "left");
    way.cut();
    await gone;
    show(`lost ${round}`, (await left)[0].rooms);
    await call(observer, "say", "room", `missed ${round}`);
    await call(observer, "say", "nowhere", "not for ana");
    await call(observer, "say-except", "room", "other", "not for ana");
    await call(observer, "say", id, { bytes: Buffer.from([round]) });
    const [welcome] = await next(ana, "welcome");
    show(`back ${round}`, [welcome, ana.recovered, ana.id === id]);
    await call(observer, "say", "other", "after");
    while (said.length < 1 + 3 * round) await sleep(10);
  }
  // The last argument is the offset.
  show("said", said.map((values) => values.slice(0, 3)));
  // What was missed comes before the connection.
  show("order", order);
  show("data", (await call(observer, "who", "room"))[0]);
  // Node keeps a session that it has restored. So it would restore the last one after `ana.disconnect()`, too.
  for (const socket of [ana, observer]) socket.disconnect();
  way.close();
}

(async () => {
  for (const part of mode === "recovery" ? [recovery] : [values, rooms, namespaces]) {
    console.log(`-- ${part.name}`);
    await part();
  }
  console.log("-- end");
  process.exit();
})().catch((error) => {
  console.log(`failed: ${error.stack}`);
  process.exit(1);
});
