// The servers in Node, as one would write them. Started with the role; says its port; ends with its parent.
'use strict';
const net = require('net');

const role = process.argv[2];
const sockets = new Set();

// Reads no more from a socket that does not read its answers.
function write(socket, data) {
  if (!socket.write(data) && !socket.isPaused()) {
    socket.pause();
    socket.once('drain', () => socket.resume());
  }
}

function lines(socket, onLine) {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    if (rest.length > 0) chunk = Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end; (end = chunk.indexOf(10, start)) >= 0; start = end + 1) onLine(chunk.subarray(start, end + 1));
    rest = chunk.subarray(start);
  });
}

const roles = {
  Echo: (socket) => socket.on('data', (chunk) => write(socket, chunk)),
  Lines: (socket) => lines(socket, (line) => write(socket, line)),
  Relay: (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    lines(socket, (line) => { for (const member of sockets) member.write(line); });
  },
};

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {});
  roles[role](socket);
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(`listening on ${server.address().port}`));
process.stdin.on('end', () => process.exit()).resume();
