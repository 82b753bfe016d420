// Node's own server with the behaviour of `examples/socketio_contract`: what bucle's answers are compared with.
//
// The variables of the environment are those of the example. Prints `listening on 127.0.0.1:<port>`.
"use strict";
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const number = (name, otherwise) => (process.env[name] === undefined ? otherwise : Number(process.env[name]));

const httpServer = createServer((request, response) => {
  response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" });
  response.end("not found\n");
});

const io = new Server(httpServer, {
  pingInterval: number("PING_INTERVAL", 25000),
  pingTimeout: number("PING_TIMEOUT", 20000),
  connectTimeout: number("CONNECT_TIMEOUT", 45000),
  maxHttpBufferSize: number("MAX_HTTP_BUFFER_SIZE", 1000000),
  connectionStateRecovery: process.env.RECOVERY === "1" ? { maxDisconnectionDuration: 120000 } : undefined,
  serveClient: process.env.CLIENT_DIST !== undefined,
  allowEIO3: true,
  httpCompression: { threshold: 1024 },
  cors: { origin: "http://app.example", credentials: true, methods: ["GET", "POST"] },
  cookie: { name: "sio", httpOnly: true, sameSite: "lax", path: "/" },
  allowRequest: (request, decide) => {
    const isDenied = new URL(request.url, "http://a.example").searchParams.get("deny") === "1";
    decide(isDenied ? "denied by allowRequest" : null, !isDenied);
  },
});

// A cluster, in which bucle may be another node.
if (process.env.REDIS_URL) {
  const Redis = require("ioredis");
  // Without `enableReadyCheck: false` ioredis may send INFO on a connection that has subscribed to sharded channels.
  const options = { retryStrategy: () => 100, enableReadyCheck: false };
  const clients = [1, 2].map(() => new Redis(process.env.REDIS_URL, options));
  // It connects again by itself.
  clients.forEach((client) => client.on("error", () => {}));
  const adapters = {
    classic: () => require("@socket.io/redis-adapter").createAdapter(...clients),
    sharded: () => require("@socket.io/redis-adapter").createShardedAdapter(...clients),
    streams: () => require("@socket.io/redis-streams-adapter").createAdapter(clients[0]),
  };
  io.adapter(adapters[process.env.REDIS_ADAPTER ?? "classic"]());
}

const call = (ack, ...values) => typeof ack === "function" && ack(...values);
const list = (rooms) => (Array.isArray(rooms) ? rooms : [rooms]);
const otherRooms = (socket) => [...socket.rooms].filter((room) => room !== socket.id).sort();

function echo(socket) {
  socket.on("echo", (...values) => {
    const ack = values.at(-1);
    if (typeof ack === "function") {
      ack(...values.slice(0, -1));
    } else {
      socket.emit("echo-back", ...values);
    }
  });
}

function shoutAll(socket, namespace) {
  socket.on("shout-all", (message, ack) => {
    namespace.emit("shouted", message, socket.id);
    call(ack);
  });
}

function joinAndSay(socket, namespace) {
  socket.on("join", (rooms, ack) => {
    socket.join(list(rooms));
    call(ack, otherRooms(socket));
  });
  socket.on("leave", (rooms, ack) => {
    list(rooms).forEach((room) => socket.leave(room));
    call(ack, otherRooms(socket));
  });
  socket.on("say", (room, message, ack) => {
    namespace.to(room).emit("said", room, message, socket.id);
    call(ack);
  });
}

io.on("connection", (socket) => {
  const counts = { received: 0, sent: 0, last: null };
  socket.onAny((name) => {
    counts.received += 1;
    if (name !== "stats") counts.last = name;
  });
  socket.onAnyOutgoing(() => {
    counts.sent += 1;
  });
  socket.use(([name], next) => next(name === "forbidden" ? new Error("forbidden event") : undefined));
  socket.on("error", (error) => socket.emit("refused", error.message));
  socket.on("disconnecting", (reason) => {
    socket.broadcast.emit("left", { id: socket.id, reason, rooms: otherRooms(socket) });
  });
  echo(socket);
  joinAndSay(socket, io);
  shoutAll(socket, io);
  socket.on("say-others", (room, message, ack) => {
    socket.to(room).emit("said", room, message, socket.id);
    call(ack);
  });
  socket.on("say-except", (room, except, message, ack) => {
    io.to(room).except(except).emit("said", room, message, socket.id);
    call(ack);
  });
  socket.on("shout", (message, ack) => {
    socket.broadcast.emit("shouted", message, socket.id);
    call(ack);
  });
  socket.on("shout-local", (message, ack) => {
    io.local.emit("shouted", message, socket.id);
    call(ack);
  });
  socket.on("ask", (question) => {
    socket.timeout(500).emit("question", question, (error, value) => {
      socket.emit("answer", error ? { ok: false } : { ok: true, value });
    });
  });
  socket.on("poll", (room, ack) => {
    io.to(room)
      .timeout(500)
      .emit("vote", (error, votes) => call(ack, { votes: votes.sort(), complete: !error }));
  });
  socket.on("silent", () => {});
  socket.on("later", (ms, ack) => setTimeout(() => call(ack, ms), ms));
  socket.on("ticks", (n) => {
    for (let i = 0; i < n; i++) socket.volatile.emit("tick", i);
    socket.emit("tick-end", n);
  });
  socket.on("set", (value, ack) => {
    socket.data.value = value;
    call(ack);
  });
  socket.on("who", async (room, ack) => {
    const sockets = await io.in(room).fetchSockets();
    const found = sockets.map((other) => ({
      id: other.id,
      rooms: [...other.rooms].filter((name) => name !== other.id).sort(),
      value: other.data.value ?? null,
    }));
    call(ack, found.sort((one, other) => (one.id < other.id ? -1 : 1)));
  });
  // The adapters in the format of a cluster do not have the method.
  socket.on("rooms", async (ack) => call(ack, [...((await io.of("/").adapter.allRooms?.()) ?? [])].sort()));
  socket.on("move", (from, to, ack) => {
    io.in(from).socketsJoin(to);
    io.in(from).socketsLeave(from);
    call(ack);
  });
  socket.on("kick", (room, close) => io.in(room).disconnectSockets(close));
  socket.on("bye", () => socket.disconnect());
  socket.on("bye-close", () => socket.disconnect(true));
  socket.on("stats", (ack) => call(ack, counts));
  socket.on("handshake", (ack) => {
    const { auth, query, headers, address, xdomain } = socket.handshake;
    call(ack, { auth, query, headers, address, xdomain });
  });
  socket.on("blob", (n) => socket.emit("blob", "x".repeat(n)));
  socket.on("bytes", (n) => socket.emit("bytes", Buffer.from(Array.from({ length: n }, (_, i) => i % 256))));
  socket.on("count", (n) => {
    for (let i = 0; i < n; i++) socket.emit("number", i);
  });
  // Without Redis there are no other nodes, and the adapter in memory does not have the method.
  socket.on("nodes", (ack) => {
    if (!process.env.REDIS_URL) return call(ack, []);
    io.serverSideEmit("who-are-you", (error, answers) => call(ack, answers));
  });
  socket.on("announce", (message, ack) => {
    if (process.env.REDIS_URL) io.serverSideEmit("announcement", message);
    call(ack);
  });
  socket.emit("welcome", {
    id: socket.id,
    transport: socket.conn.transport.name,
    eio: socket.conn.protocol,
    recovered: socket.recovered,
  });
});

io.on("who-are-you", (ack) => ack("node"));
io.on("announcement", (message) => io.local.emit("announced", message));

const admin = io.of("/admin");
admin.use((socket, next) => {
  if (socket.handshake.auth.token === "secret") return next();
  next(Object.assign(new Error("not authorized"), { data: { code: 401 } }));
});
admin.on("connection", (socket) => {
  echo(socket);
  shoutAll(socket, admin);
  socket.emit("admin-ready", { user: socket.handshake.auth.user ?? null });
});

io.of(/^\/tenant-\d+$/).on("connection", (socket) => {
  echo(socket);
  joinAndSay(socket, socket.nsp);
  shoutAll(socket, socket.nsp);
  socket.emit("tenant", socket.nsp.name);
});

httpServer.listen(number("PORT", 3000), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${httpServer.address().port}`);
});
