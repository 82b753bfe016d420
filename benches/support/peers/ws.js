// npm `ws` as one would use it, without compression. Says its port; ends with its parent.
'use strict';
const { WebSocketServer } = require('../../../tests/interop/node_modules/ws');

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', backlog: 4096, perMessageDeflate: false });
server.on('connection', (ws) => {
  ws.on('error', () => {});
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
});
server.on('listening', () => console.log(`listening on ${server.address().port}`));
process.stdin.on('end', () => process.exit()).resume();
