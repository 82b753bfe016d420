// npm `socket.io` as one would use it. Says its port; ends with its parent.
'use strict';
const { createServer } = require('node:http');
const { Server } = require('../../../tests/interop/node_modules/socket.io');

const http = createServer();
// No ping falls into a measurement.
const io = new Server(http, { pingInterval: 3600000 });
io.on('connection', (socket) => {
  socket.on('echo', (text, ack) => ack(text));
});
http.listen(0, '127.0.0.1', 4096, () => console.log(`listening on ${http.address().port}`));
process.stdin.on('end', () => process.exit()).resume();
