// npm `socket.io` as a node of a cluster. Says its port; ends with its parent.
//
//   node socketio_cluster.js ADAPTER REDIS_PORT
'use strict';
const { createServer } = require('node:http');
const modules = '../../../tests/interop/node_modules/';
const { Server } = require(`${modules}socket.io`);
const Redis = require(`${modules}ioredis`);

const [adapter, redisPort] = process.argv.slice(2);
// Without the option ioredis sends INFO on the connection that has subscribed to sharded channels, which is an error.
const clients = [1, 2].map(() => new Redis(Number(redisPort), { enableReadyCheck: false }));
const adapters = {
  classic: () => require(`${modules}@socket.io/redis-adapter`).createAdapter(...clients),
  sharded: () => require(`${modules}@socket.io/redis-adapter`).createShardedAdapter(...clients),
  streams: () => require(`${modules}@socket.io/redis-streams-adapter`).createAdapter(clients[0]),
};
const http = createServer();
// No ping falls into a measurement.
const io = new Server(http, { pingInterval: 3600000, adapter: adapters[adapter]() });
io.on('connection', (socket) => {
  socket.on('join', (room, ack) => {
    socket.join(room);
    ack();
  });
  socket.on('say', (room, text) => io.to(room).emit('said', text));
});
http.listen(0, '127.0.0.1', 4096, () => console.log(`listening on ${http.address().port}`));
process.stdin.on('end', () => process.exit()).resume();
