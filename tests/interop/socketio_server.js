// A server of Socket.IO: `node socketio_server.js PACKAGE [OPTIONS]`. It prints its port. A line on its standard input is a command:
// `kick` cuts all connections, and `stop PORT` ends the server and starts another one on this port.
"use strict";

const http = require("http");

const name = process.argv[2];
const isVersion2 = name.endsWith("v2");
const make = require(name);
const options = {
  pingInterval: 300,
  // A client on a busy machine answers late.
  pingTimeout: 20000,
  // Servers of version 2 do not tell clients their limit.
  ...(isVersion2 ? {} : { connectionStateRecovery: {}, maxHttpBufferSize: 100000 }),
  ...JSON.parse(process.argv[3] || "{}"),
};
// The cookies of all requests, with their transport.
const cookies = [];

let server;
let io;

function serve(io) {
  io.on("connection", socket => {
    socket.emit("welcome", { id: socket.id, recovered: socket.recovered === true });
    socket.on("echo", (...args) => {
      const ack = typeof args[args.length - 1] === "function" ? args.pop() : null;
      if (ack) ack(...args);
      else socket.emit("echo-back", ...args);
    });
    socket.on("ask", question => socket.emit("question", question, answer => socket.emit("answer", answer)));
    socket.on("count", n => {
      for (let i = 0; i < n; i++) socket.emit("number", i);
    });
    socket.on("blob", n => socket.emit("blob", "x".repeat(n)));
    socket.on("silent", () => {});
    socket.on("bye", () => socket.disconnect());
    socket.on("close", () => socket.disconnect(true));
    socket.on("lose", () => {
      socket.join("lost");
      socket.conn.close();
      setTimeout(() => io.to("lost").emit("missed", 1), 10);
    });
    socket.on("cookies", ack => ack(cookies));
    socket.on("handshake", ack => ack(socket.handshake.query.room, socket.handshake.headers["x-test"] || null));
  });
  const admin = io.of("/admin");
  admin.use((socket, next) => {
    const given = isVersion2 ? socket.handshake.query : socket.handshake.auth;
    if (given.token === "secret") return next();
    const error = new Error("not authorized");
    if (!isVersion2) error.data = { code: 401 };
    next(error);
  });
  admin.on("connection", socket => {
    socket.emit("admin-ready", socket.id);
    socket.on("echo", (...args) => args.pop()(...args));
  });
}

function start(port) {
  server = http.createServer();
  const sockets = new Set();
  server.on("connection", socket => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  io = isVersion2 ? make(server, options) : new make.Server(server, options);
  serve(io);
  io.engine.on("headers", (_, request) => cookies.push([request._query.transport, request.headers.cookie || null]));
  server.kick = () => sockets.forEach(socket => socket.destroy());
  server.listen(port, "127.0.0.1", () => console.log(server.address().port));
}

require("readline")
  .createInterface({ input: process.stdin })
  .on("line", line => {
    const [command, port] = line.split(" ");
    server.kick();
    if (command === "stop") server.close(() => start(Number(port)));
  })
  .on("close", () => process.exit());

start(0);
