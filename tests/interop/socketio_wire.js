// Sends requests and packets that are made by hand to a server of the contract. Prints a line for each case, in
// which ids are replaced, so that the lines of two servers can be compared.
//
// These differences between bucle and Node are on purpose, and do not show here:
//
// * A payload that cannot be parsed: Node answers 200, bucle 400. Both end the session. Node's decoder of base64 skips
//   wrong characters.
// * The packet `1` (close) on a WebSocket connection: Node ignores it, bucle closes.
// * An event without data (`42`): Node ignores it, bucle closes.
// * A packet that cannot be parsed: Node calls the listeners of `error` of the socket, bucle logs it. Both close.
// * Events for a namespace from which the server has just disconnected the client: Node closes, bucle ignores them.
// * Compressed answers of bucle have `Vary: Accept-Encoding`.
// * A ping of revision 3 with data: bucle's pong has the same data, as the protocol says.
// * Limits: 10 attachments and depth 64 of a packet, 256 bytes for a namespace, 64 KiB for credentials, 32 namespaces
//   for a client.
// * The last answer to a poll: Node sends `6` and `1`, bucle `1`.
//
// usage: node socketio_wire.js PORT [short]
//   short  the server has short time limits, and a payload of 1000 bytes is too large
"use strict";
const http = require("node:http");
const net = require("node:net");
const zlib = require("node:zlib");
const WebSocket = require("ws");
const { io } = require("socket.io-client");

const port = Number(process.argv[2]);
const agent = new http.Agent({ keepAlive: false });
const LIMIT = 10000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Replaces what differs each time. */
const plain = (text) =>
  String(text)
    .replace(/(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{20}(?![A-Za-z0-9_-])/g, "<id>")
    .replace(/127\.0\.0\.1:\d+/g, "<host>");
const show = (name, value) => console.log(plain(`${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`));

/** Headers that differ between HTTP servers without a meaning for Engine.IO. */
const IGNORED = new Set(["date", "keep-alive", "content-length", "transfer-encoding", "etag", "x-content-type-options"]);

function ask(method, path, { headers = {}, body, raw = false } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ port, host: "127.0.0.1", method, path, headers, agent }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve(answer(response, Buffer.concat(chunks), raw)));
      response.on("error", (error) => resolve({ error: error.code }));
    });
    request.on("error", (error) => resolve({ error: error.code }));
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve(answer(response, Buffer.alloc(0), raw));
    });
    request.setTimeout(LIMIT, () => reject(new Error(`no answer: ${method} ${path}`)));
    request.end(body);
  });
}

function answer(response, body, raw) {
  const headers = {};
  for (const [name, value] of Object.entries(response.headers).sort()) {
    if (!IGNORED.has(name) && !(name === "connection" && value !== "close")) headers[name] = value;
  }
  if (headers.vary) {
    headers.vary = headers.vary.replace(", accept-encoding", "");
  }
  if (response.headers["content-encoding"] === "gzip") body = zlib.gunzipSync(body);
  if (response.headers["content-encoding"] === "deflate") body = zlib.inflateSync(body);
  return { status: response.statusCode, headers, body: raw ? body : body.toString() };
}

const base = (eio = 4, more = "") => `/socket.io/?EIO=${eio}&transport=polling${more}`;

/** Opens a session that polls; returns its path. */
async function open(eio = 4, more = "") {
  const { body } = await ask("GET", base(eio, more));
  const sid = /\\?"sid\\?":\\?"([^"\\]+)/.exec(body)[1];
  return `${base(eio, more)}&sid=${sid}`;
}

const get = async (path) => {
  const { status, body, error } = await ask("GET", path);
  return error ?? (status === 200 ? body : `${status} ${body}`);
};
const post = async (path, body, headers = {}) => {
  const result = await ask("POST", path, { headers: { "Content-Type": "text/plain;charset=UTF-8", ...headers }, body });
  return result.error ?? `${result.status} ${result.body}`;
};

/** Packets as a payload of revision 3. */
const payload = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join("");

/** A WebSocket whose messages are read one by one. */
function socket(path) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}${path.replace("polling", "websocket")}`);
  const events = [];
  const waiting = [];
  const add = (event) => (waiting.length > 0 ? waiting.shift()(event) : events.push(event));
  ws.on("message", (data, isBinary) => add(isBinary ? `binary ${data.toString("hex")}` : data.toString()));
  ws.on("close", (code) => add(`closed ${code}`));
  ws.on("error", (error) => add(`error ${error.message}`));
  ws.on("unexpected-response", (_, response) => {
    response.resume();
    add(`refused ${response.statusCode}`);
  });
  ws.next = () =>
    events.length > 0
      ? Promise.resolve(events.shift())
      : new Promise((resolve, reject) => {
          const timer = setTimeout(() => reject(new Error(`nothing comes: ${path}`)), LIMIT);
          waiting.push((event) => {
            clearTimeout(timer);
            resolve(event);
          });
        });
  ws.take = async (n) => {
    const taken = [];
    for (let i = 0; i < n; i++) taken.push(await ws.next());
    return taken;
  };
  /** The events up to the close. */
  ws.rest = async () => {
    const taken = [];
    for (;;) {
      taken.push(await ws.next());
      if (/^(closed|error)/.test(taken.at(-1))) return taken;
    }
  };
  return ws;
}

/** A WebSocket that has joined `/`. */
async function joined(eio = 4) {
  const ws = socket(base(eio));
  await ws.next();
  if (eio === 4) ws.send("40");
  await ws.take(2);
  return ws;
}

/** Another client, which sees how others leave. */
let observer;
async function leaves() {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("nobody leaves")), LIMIT);
    observer.once("left", ({ reason, rooms }) => {
      clearTimeout(timer);
      resolve({ reason, rooms });
    });
  });
}

async function refusals() {
  const upgrade = {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  const origin = { Origin: "http://app.example" };
  const path = await open();
  const cases = [
    ["GET", "/socket.io/"],
    ["GET", "/socket.io/?EIO=4"],
    ["GET", "/socket.io/?EIO=4&transport=tube"],
    ["GET", "/socket.io/?EIO=4&transport=__proto__"],
    ["GET", "/socket.io/x/y?EIO=4&transport=tube"],
    ["GET", base(4, "&sid=")],
    ["GET", base(4, "&sid=__proto__")],
    ["GET", base(4, "&sid=AAAAAAAAAAAAAAAAAAAA")],
    ["POST", base()],
    ["PUT", base()],
    ["DELETE", base()],
    ["HEAD", base()],
    ["PUT", path],
    ["OPTIONS", path],
    ["GET", "/socket.io/?EIO=4&transport=websocket"],
    ["GET", path.replace("polling", "websocket")],
    ["GET", path.replace("EIO=4", "EIO=3")],
    ["GET", base(4, "&deny=1")],
    ["GET", base(3, "&deny=1")],
    ["OPTIONS", base(), { headers: origin }],
    [
      "OPTIONS",
      base(),
      { headers: { ...origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a, x-b" } },
    ],
    ["GET", base(), { headers: origin }],
    ["GET", base(), { headers: { Origin: "http://other.example" } }],
    ["GET", "/socket.io/?EIO=4&transport=websocket&deny=1", { headers: upgrade }],
    ["GET", "/socket.io/?EIO=4&transport=tube", { headers: upgrade }],
    ["GET", "/socket.io/?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA", { headers: upgrade }],
    ["GET", "/socket.io/?EIO=4&transport=websocket", { headers: { ...upgrade, ...origin } }],
    ["GET", path.replace("EIO=4", "EIO=3").replace("polling", "websocket"), { headers: upgrade }],
    ["GET", "/other"],
    ["GET", "/"],
  ];
  for (const [method, target, options] of cases) {
    const more = options ? ` ${Object.keys(options.headers).join(" ")}` : "";
    const result = await ask(method, target, options);
    // The key of the handshake is fixed, so its answer is the same each time.
    show(`${method} ${target}${more}`, result);
  }
}

async function polling() {
  const path = await open();
  show("open", await ask("GET", base()));
  show("CONNECT", await ask("POST", path, { headers: { Origin: "http://app.example" }, body: "40" }));
  show("its answer", await ask("GET", path, { headers: { Origin: "http://app.example" } }));
  show("echo", [await post(path, '420["echo","é",1]\x1e42["echo",2]'), await get(path)]);
  show("binary", [await post(path, '451-["echo",{"_placeholder":true,"num":0}]\x1ebAQID'), await get(path)]);
  show("ping in the wrong direction", [await post(path, "2"), await get(path)]);

  for (const body of ["abc", "", "4", "7", "40\x1e", "b", '42["echo"]']) {
    const other = await open();
    await post(other, body);
    show(`post ${JSON.stringify(body)}`, (await get(other)).replace("6\x1e1", "1"));
  }
  const octets = await open();
  show("octets", [await post(octets, "40", { "Content-Type": "application/octet-stream" }), await get(octets)]);

  const large = await open();
  await post(large, "40");
  await get(large);
  show("413", [(await post(large, "4" + "x".repeat(1000001))).replace("ECONNRESET", "413 ").replace("EPIPE", "413 "), await get(large)]);

  const twice = await open();
  const first = get(twice);
  await sleep(50);
  show("two polls", [await get(twice), await first, await get(twice)]);

  const closing = await open();
  await post(closing, "40");
  await get(closing);
  const last = get(closing);
  await sleep(50);
  const left = leaves();
  show("close packet", [await post(closing, "1"), await last, await get(closing), await left]);

  const cut = await open();
  await post(cut, "40");
  await get(cut);
  const poll = http.get({ port, host: "127.0.0.1", path: cut, agent }).on("error", () => {});
  await sleep(50);
  const cutLeft = leaves();
  poll.destroy();
  show("a poll that is cut", [await cutLeft, await get(cut)]);

  const overlap = await open();
  await post(overlap, "40");
  await get(overlap);
  const slow = http.request({ port, host: "127.0.0.1", method: "POST", path: overlap, agent, headers: { "Content-Length": 10 } });
  slow.on("error", () => {});
  slow.write("42");
  await sleep(50);
  const overlapLeft = leaves();
  show("two posts", [await post(overlap, "42"), await overlapLeft, await get(overlap)]);
  slow.destroy();
}

async function compression() {
  const path = await open();
  await post(path, "40");
  await get(path);
  for (const [encoding, size] of [["gzip", 100], ["gzip", 5000], ["deflate", 5000], ["gzip, deflate, br", 5000], ["br", 5000], ["gzip;q=0", 5000], ["*", 5000], [undefined, 5000]]) {
    await post(path, `42["blob",${size}]`);
    const result = await ask("GET", path, { headers: encoding ? { "Accept-Encoding": encoding } : {} });
    show(`compression ${encoding} ${size}`, [result.status, result.headers, result.body.length]);
  }
}

async function revision3() {
  const path = await open(3);
  show("v3 first poll", await get(path));
  show("v3 echo", [await post(path, payload('420["echo","é"]')), await get(path)]);
  show("v3 emoji", [await post(path, payload('420["echo","😀"]', '421["echo",2]')), await get(path)]);
  show("v3 ping", [await post(path, payload("2", "2")), await get(path)]);
  await post(path, payload('451-["echo",{"_placeholder":true,"num":0}]', "b4AQID"));
  const binary = await ask("GET", path, { raw: true });
  show("v3 binary", [binary.headers["content-type"], binary.body.toString("hex")]);
  show("v3 octets", [await post(path, Buffer.concat([Buffer.from([0, 1, 3, 255]), Buffer.from('420["echo",1]')]), { "Content-Type": "application/octet-stream" }), await get(path)]);
  show("v3 pong", [await post(path, "1:3"), await get(path)]);

  const base64 = await open(3, "&b64=1");
  show("v3 b64 first", await get(base64));
  await post(base64, payload('451-["echo",{"_placeholder":true,"num":0}]', "b4AQID"));
  show("v3 b64 binary", await get(base64));

  const ws = socket(base(3));
  show("v3 ws", await ws.take(3));
  ws.send('451-["echo",{"_placeholder":true,"num":0}]');
  ws.send(Buffer.from([4, 1, 2, 3]));
  show("v3 ws binary", await ws.take(2));
  ws.send("2");
  show("v3 ws pong", await ws.next());
  ws.send("40/admin?token=secret&user=ana,");
  show("v3 admin", await ws.take(2));
  ws.send("40/admin?token=x,");
  show("v3 admin again", await ws.rest());
  const second = await joined(3);
  second.send("40/admin?token=x,");
  show("v3 refused", await second.next());
  second.send("40/nope,");
  show("v3 no namespace", await second.next());
  second.send("40/tenant-7");
  show("v3 tenant", await second.take(2));
  second.send("41/tenant-7");
  second.send('421["echo",1]');
  show("v3 after tenant", await second.next());
  const left = leaves();
  second.send("3");
  show("v3 ws wrong direction", [await left, await second.rest()]);
}

async function jsonp() {
  for (const eio of [4, 3]) {
    const path = await open(eio, "&j=3");
    show(`jsonp ${eio} open`, await ask("GET", base(eio, "&j=12")));
    const form = { "Content-Type": "application/x-www-form-urlencoded" };
    if (eio === 4) show("jsonp connect", await post(path, "d=40", form));
    show(`jsonp ${eio} first`, await get(path));
    const text = eio === 4 ? '420["echo","a\\nb\u2028é&="]' : payload('420["echo","a\\nb\u2028é&="]');
    show(`jsonp ${eio} echo`, [await post(path, `d=${encodeURIComponent(text.replace(/\\n/g, "\\\\n"))}`, form), await get(path)]);
    const second = path.replace("j=3", "j=4");
    const plainPost = eio === 4 ? '421["echo",2]' : payload('421["echo",2]');
    show(`jsonp ${eio} other number`, [await post(second, `d=${encodeURIComponent(plainPost)}`, form), await get(second)]);
  }
}

async function upgrades() {
  const path = await open();
  await post(path, "40");
  await get(path);
  const ws = socket(path);
  await new Promise((resolve) => ws.once("open", resolve));
  const poll = get(path);
  await sleep(20);
  ws.send("2probe");
  show("probe", [await ws.next(), await poll]);
  const second = socket(path);
  show("a second probe", await second.rest());
  await post(path, '420["echo","over polling"]');
  show("before the upgrade", await get(path));
  // Nobody polls: the answer waits for the new transport.
  await post(path, '42["count",3]');
  ws.send("5");
  ws.send('421["echo","over websocket"]');
  show("after the upgrade", await ws.take(4));
  show("polling after it", [await get(path), await post(path, "4x"), (await ask("GET", path)).status]);
  const third = socket(path);
  show("another websocket", await third.rest());
  const left = leaves();
  ws.close();
  show("closed by the client", await left);

  const failed = await open();
  await post(failed, "40");
  await get(failed);
  for (const packet of ["2", "4x", "3probe", "2other"]) {
    const probe = socket(failed);
    await new Promise((resolve) => probe.once("open", resolve));
    probe.send(packet);
    show(`probe ${packet}`, await probe.rest());
  }
  await post(failed, '420["echo",1]');
  show("polling lives on", await get(failed));
  const direct = await joined();
  direct.send("2");
  const directLeft = leaves();
  show("a ping of the client", [await direct.rest(), await directLeft]);
}

async function packets() {
  const cases = [
    "4",
    "4x",
    "49",
    "42[]",
    "42{}",
    "42[true]",
    "42[1]",
    '42["connect"]',
    '42["disconnect",1]',
    '42["newListener"]',
    '42["a"',
    '42/x,["a"]',
    "42/admin,[1]",
    "40",
    "40{}",
    '40/x,[1]',
    '40/x,"a"',
    "41/x,",
    "43[1]",
    '430["x"]',
    '43999["x"]',
    '44{"message":"x"}',
    '45["a"]',
    '45-["a"]',
    '451-["a",{"_placeholder":true,"num":1}]+b',
    '451-["a",{"_placeholder":true,"num":-1}]+b',
    '451-["a",{"_placeholder":true,"num":"0"}]+b',
    '4511-["a"]',
    '451-["a"]+t',
    "b",
    "6",
    "0",
    "9",
    "",
    '4299999["echo"]',
    '42[" echo"]',
  ];
  for (const text of cases) {
    const ws = await joined();
    let isGone = false;
    const left = leaves().then((left) => ((isGone = true), left));
    left.catch(() => {});
    const [packet, then] = text.split("+");
    if (packet === "b") ws.send(Buffer.from([1]));
    else ws.send(packet);
    if (then === "b") ws.send(Buffer.from([1]));
    if (then === "t") ws.send('42["echo"]');
    ws.send('427["echo","alive"]');
    const events = [];
    for (;;) {
      const event = await ws.next();
      events.push(event);
      if (/^(closed|error|437)/.test(event)) break;
    }
    const isAlive = events.at(-1).startsWith("437");
    const reason = isAlive ? "alive" : await left;
    observer.off("left");
    show(`packet ${JSON.stringify(text)}`, [events.filter((event) => !event.startsWith('42["refused"')), reason]);
    ws.terminate();
    if (isAlive || !isGone) await sleep(20);
  }
  const large = await joined();
  const left = leaves();
  large.send(`42["echo","${"x".repeat(1000001)}"]`);
  show("too large a message", [await large.rest(), await left]);
}

async function namespaces() {
  const ws = await joined();
  ws.send('40/admin,{"token":"secret","user":"ana"}');
  show("admin", await ws.take(2));
  ws.send('42/admin,5["echo",1]');
  show("admin echo", await ws.next());
  ws.send('40/tenant-1,');
  show("tenant", await ws.take(2));
  ws.send('40/tenant-x,');
  show("no tenant", await ws.next());
  ws.send("41/tenant-1,");
  ws.send('42/admin,6["echo",2]');
  show("admin after", await ws.next());
  const left = leaves();
  ws.send("41");
  show("leaves /", await left);
  ws.send('42/admin,7["echo",3]');
  show("admin after /", await ws.next());
  ws.send("40");
  show("comes back", await ws.take(2));
  ws.send('42["bye"]');
  show("bye", await ws.next());
  ws.send('42/admin,8["echo",4]');
  show("admin after bye", await ws.next());
  const other = await joined();
  other.send('40/admin,{"token":"secret"}');
  await other.take(2);
  const otherLeft = leaves();
  other.send('42["bye-close"]');
  show("bye-close", [(await other.rest()).sort(), await otherLeft]);
  const refused = socket(base());
  await refused.next();
  refused.send('40/admin,{"token":"x"}');
  show("refused", await refused.next());
  refused.send('40/admin,{"token":"secret"}');
  show("then let in", await refused.take(2));
  refused.send("40/admin?token=secret,");
  show("a query in the name", await refused.next());
}

async function files() {
  for (const name of ["socket.io.js", "socket.io.min.js", "socket.io.js.map", "socket.io.esm.min.js", "socket.io.msgpack.min.js", "socket.io.esm.min.js.map", "nothing.js"]) {
    const { status, headers, body } = await ask("GET", `/socket.io/${name}`, { headers: { Origin: "http://app.example" } });
    show(`file ${name}`, [status, headers["content-type"], headers["access-control-allow-origin"], headers["cache-control"], status === 200 ? body.length : body]);
  }
  const response = await new Promise((resolve) => http.get({ port, host: "127.0.0.1", path: "/socket.io/socket.io.js", agent }, resolve));
  response.resume();
  const etag = response.headers.etag;
  show("etag", [/^"[^"]+"$/.test(etag), (await ask("GET", "/socket.io/socket.io.js", { headers: { "If-None-Match": etag } })).status]);
  show("weak etag", (await ask("GET", "/socket.io/socket.io.js", { headers: { "If-None-Match": `W/${etag}` } })).status);
  show("query", (await ask("GET", "/socket.io/socket.io.js?v=1")).status);
}

/** What ends by time, and by size. */
async function limits() {
  const silent = await joined();
  const left = leaves();
  show("ping", await silent.next());
  show("a silent client", [await left, await silent.rest()]);
  const old = await joined(3);
  const oldLeft = leaves();
  show("a silent client of version 2", [await oldLeft, await old.rest()]);
  const answering = await joined();
  for (let i = 0; i < 3; i++) {
    show("ping", await answering.next());
    answering.send("3");
  }
  answering.terminate();
  const path = await open();
  await post(path, "40");
  await get(path);
  const polled = leaves();
  show("a client that polls", [await get(path), await get(path), await polled, await get(path)]);
  const idle = await open();
  await post(idle, "40");
  show("a client that does not poll", [await leaves(), await get(idle)]);
  const unnamed = socket(base());
  await unnamed.next();
  show("no namespace in time", (await unnamed.rest()).filter((event) => event !== "2"));
  const large = await open();
  show("413", [(await post(large, "4" + "x".repeat(1001))).replace("ECONNRESET", "413 ").replace("EPIPE", "413 "), await get(large)]);
  const exact = await open();
  show("exactly", [await post(exact, "40" + '{"a":"' + "x".repeat(990) + '"}'), (await get(exact)).length]);
  const frames = await joined();
  frames.send('42["echo","' + "x".repeat(987) + '"]');
  show("a frame of 1000 bytes", (await frames.next()).length);
  const framesLeft = leaves();
  frames.send('42["echo","' + "x".repeat(988) + '"]');
  show("a frame of 1001 bytes", [await framesLeft, (await frames.rest()).filter((event) => event !== "2")]);
}

(async () => {
  observer = io(`http://127.0.0.1:${port}`, { transports: ["websocket"] });
  await new Promise((resolve) => observer.once("welcome", resolve));
  const parts = process.argv[3] === "short" ? [limits] : [refusals, polling, compression, revision3, jsonp, upgrades, packets, namespaces, files];
  for (const part of parts) {
    console.log(`-- ${part.name}`);
    try {
      await part();
    } catch (error) {
      console.log(`failed: ${error.stack}`);
      process.exitCode = 1;
    }
  }
  observer.disconnect();
  console.log("-- end");
  setTimeout(() => process.exit(), 50);
})();
