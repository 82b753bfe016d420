'use strict';
// Clients of npm that are lost at one of two servers and come back at the other one. Both serve the contract of
// `examples/socketio_contract`, with recovery, and are joined by a stream of Redis.
//
//   node redis_recovery.js ONE_PORT OTHER_PORT
//
// Prints a line for every check, and exits with 1 if one failed or something does not come.

const assert = require('node:assert/strict');
const { io } = require('socket.io-client');

/** How long the script waits for everything. Only a failing script waits this long. */
const LIMIT_MS = 50_000;

setTimeout(() => {
  console.log('not ok: something has not come');
  process.exit(1);
}, LIMIT_MS).unref();

const ports = process.argv.slice(2, 4).map(Number);

/** A client of the server of this number, with what it receives. `lost` is a client that comes back as this one. */
async function open(server, lost) {
  const socket = io(`http://127.0.0.1:${ports[server]}`, {
    forceNew: true, transports: ['websocket'], reconnection: false, autoConnect: false,
  });
  if (lost) Object.assign(socket, lost);
  const client = { socket, received: [], changed: () => {} };
  for (const event of ['said', 'left']) {
    socket.on(event, (...values) => {
      // The last argument is the offset.
      assert.match(values.pop(), /^\d+-\d+$/);
      client.received.push([event, ...values]);
      client.changed();
    });
  }
  socket.connect();
  await new Promise((resolve) => socket.on('connect', resolve));
  return client;
}

const emit = (client, ...values) => new Promise((resolve) => client.socket.emit(...values, resolve));

/** Waits until a client has received so many events, and takes them. */
async function take(client, count) {
  while (client.received.length < count) {
    await new Promise((resolve) => (client.changed = resolve));
  }
  return client.received.splice(0);
}

/** Breaks the connection of a client. Returns what the client knows when it comes back. */
async function lose(client, observer) {
  const { id, _pid, _lastOffset } = client.socket;
  observer.received.length = 0;
  client.socket.io.engine.close();
  while ((await take(observer, 1)).every(([event, left]) => event !== 'left' || left.id !== id)) {}
  return { _pid, _lastOffset };
}

/** What a client misses on one server, it gets on the other one. */
async function check(from, to) {
  const name = `${from} to ${to}`;
  const [here, there] = [await open(from), await open(to)];
  const client = await open(from);
  const { id } = client.socket;
  const by = (speaker, text) => ['said', 'r', text, speaker.socket.id];
  await emit(client, 'set', { nick: 'ana' });
  await emit(client, 'join', 'r');
  await emit(here, 'say', 'r', 'before');
  assert.deepEqual(await take(client, 1), [by(here, 'before')]);

  const lost = await lose(client, there);
  assert.match(lost._lastOffset, /^\d+-\d+$/);
  const file = { text: 'é', file: Buffer.from([1, 2, 3]) };
  await emit(here, 'say', 'r', 'one');
  await emit(there, 'say', 'other', 'not for it');
  await emit(there, 'say', 'r', file);
  await emit(there, 'join', 'r');
  await emit(there, 'say', 'r', 'two');
  // All of them are in the stream when the last one comes back.
  while ((await take(there, 1)).every(([event, , text]) => event !== 'said' || text !== 'two')) {}

  const again = await open(to, lost);
  assert.equal(again.socket.recovered, true, `${name}: recovered`);
  assert.equal(again.socket.id, id);
  const missed = [];
  while (missed.filter(([event]) => event === 'said').length < 3) missed.push(...(await take(again, 1)));
  const said = missed.filter(([event]) => event === 'said');
  // Events of two servers may be in either order.
  const order = (events) => events.map((event) => JSON.stringify(event)).sort();
  assert.deepEqual(order(said), order([by(here, 'one'), by(there, file), by(there, 'two')]));
  assert.ok(Buffer.isBuffer(said.find(([, , text]) => text.file)[2].file));
  console.log(`ok ${name}: what was missed comes once`);

  await emit(here, 'say', 'r', 'live');
  assert.deepEqual(await take(again, 1), [by(here, 'live')]);
  const [found] = (await emit(there, 'who', 'r')).filter((socket) => socket.id === id);
  assert.deepEqual([found.rooms, found.value], [['r'], { nick: 'ana' }]);
  console.log(`ok ${name}: it is in its rooms with its data`);

  const twice = await open(from, lost);
  assert.equal(twice.socket.recovered, false);
  assert.notEqual(twice.socket.id, id);
  console.log(`ok ${name}: a session is taken once`);

  // And back to where it was.
  const back = await lose(again, there);
  await emit(there, 'say', 'r', 'three');
  const home = await open(from, back);
  assert.equal(home.socket.recovered, true);
  const events = [];
  while (!events.some(([, , text]) => text === 'three')) events.push(...(await take(home, 1)));
  assert.deepEqual(events.filter(([event]) => event === 'said'), [by(there, 'three')]);
  console.log(`ok ${name}: and back`);
  [here, there, home, twice].forEach((other) => other.socket.close());
}

async function main() {
  for (const [from, to] of [[0, 1], [1, 0]]) {
    await check(from, to);
  }
  process.exit(0);
}

main().catch((error) => {
  console.log(`not ok: ${error.stack}`);
  process.exit(1);
});
