'use strict';
// A client of npm for the examples `socketio_tutorial` and `chat`.
//
//   node examples_client.js socket.io-client|socket.io-client-v2 TUTORIAL_PORT CHAT_PORT
//
// Prints a line for every check, and exits with 1 if one failed or something does not come.

const assert = require('node:assert/strict');

const [name, tutorialPort, chatPort] = process.argv.slice(2);
const io = require(name);

/** How long the script waits for everything. Only a failing script waits this long. */
const LIMIT_MS = 30_000;

setTimeout(() => {
  console.log('not ok: something has not come');
  process.exit(1);
}, LIMIT_MS).unref();

const opened = [];

/** A client, with the events that it has received. */
function open(port, events) {
  const socket = io(`http://127.0.0.1:${port}`, { forceNew: true });
  opened.push(socket);
  const received = [];
  const waiting = [];
  for (const event of events) {
    socket.on(event, (...args) => {
      const take = waiting.shift();
      if (take) take([event, ...args]);
      else received.push([event, ...args]);
    });
  }
  const next = () => received.length > 0 ? received.shift() : new Promise((resolve) => waiting.push(resolve));
  return { socket, next };
}

async function tutorial() {
  const [ana, bo] = [0, 1].map(() => open(tutorialPort, ['messageClient', 'event']));
  for (const { next } of [ana, bo]) assert.deepEqual(await next(), ['messageClient', 'Welcome']);
  ana.socket.emit('messageServer', 'texto\n');
  ana.socket.emit('messageServer', Buffer.from('bytes\n'));
  ana.socket.emit('messageServer', 'bye');
  assert.deepEqual(await bo.next(), ['event', 'Bye everybody']);
  bo.socket.emit('messageServer', Buffer.from('bye\r\n'));
  assert.deepEqual(await ana.next(), ['event', 'Bye everybody']);
  console.log('ok tutorial');
}

async function chat() {
  const [ana, bo] = [0, 1].map(() => open(chatPort, ['chat message', 'everybody']));
  for (const { socket, next } of [ana, bo]) {
    assert.deepEqual(await next(), ['chat message', 'Welcome']);
    socket.emit('chat message', 'hola');
    assert.deepEqual(await next(), ['chat message', 'server: hola']);
  }
  ana.socket.emit('chat message', 'everybody');
  for (const { next } of [ana, bo]) assert.deepEqual(await next(), ['everybody', `${ana.socket.id}: everybody`]);
  console.log('ok chat');
}

tutorial().then(chat).then(() => opened.forEach((socket) => socket.close())).catch((error) => {
  console.log(`not ok: ${error.stack}`);
  process.exit(1);
});
