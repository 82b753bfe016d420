'use strict';
// Clients of npm in a cluster of two servers that serve the contract of `examples/socketio_contract`, joined by Redis.
//
//   node redis_cluster.js ONE_PORT OTHER_PORT REDIS_PORT ADAPTER
//
// ADAPTER is `classic`, `sharded` or `streams`. Emitters reach only the classic one.
// Prints a line for every check, and exits with 1 if one failed or something does not come.

const assert = require('node:assert/strict');
const { Emitter } = require('@socket.io/redis-emitter');
const Redis = require('ioredis');
const { io } = require('socket.io-client');

/** How long the script waits for everything. Only a failing script waits this long. */
const LIMIT_MS = 50_000;

setTimeout(() => {
  console.log('not ok: something has not come');
  process.exit(1);
}, LIMIT_MS).unref();

const [ports, redisPort] = [process.argv.slice(2, 4).map(Number), Number(process.argv[4])];
const adapter = process.argv[5];
const EVENTS = ['said', 'shouted', 'announced', 'time', 'end'];

/** A client of the server of this number, with everything that it has received. */
async function open(server, namespace = '/', options = {}) {
  const socket = io(`http://127.0.0.1:${ports[server]}${namespace}`, { forceNew: true, transports: ['websocket'], ...options });
  const client = { socket, received: [], changed: () => {} };
  for (const event of EVENTS) {
    socket.on(event, (...values) => {
      client.received.push([event, ...values]);
      client.changed();
    });
  }
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

/** A message behind which nothing comes. */
const END = 'the end';

/** Waits until all clients have received everything that was sent before, and expects exactly these events. */
async function expect(what, clients, wanted) {
  for (const [number, client] of clients.entries()) {
    const events = [];
    while (events.at(-1)?.[0] !== 'end' && events.at(-1)?.[1] !== END) {
      events.push(...(await take(client, 1)));
    }
    assert.deepEqual(events.slice(0, -1), wanted[number], `${what}, client ${number}`);
  }
  console.log(`ok ${what}`);
}

async function until(what, isTrue) {
  while (!(await isTrue())) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  console.log(`ok ${what}`);
}

/** Over sharded channels Redis learns a moment later which servers have sockets in a room. */
async function untilRedisKnows(redis, room, servers) {
  if (adapter !== 'sharded') return;
  const count = async () => (await redis.call('PUBSUB', 'SHARDNUMSUB', `socket.io#/#${room}#`))[1];
  await until(`Redis knows ${servers} servers of the room ${room}`, async () => (await count()) === servers);
}

/** Everything in one direction: `from` is the number of the server that acts. */
async function check(from, redis, emitter) {
  const to = 1 - from;
  const name = `${from} to ${to}`;
  const [a, b, c] = [await open(from), await open(to), await open(to)];
  const all = [a, b, c];
  // `said` and `shouted` go through all servers in one order, and so does this.
  const end = () => (adapter === 'classic' ? emitter.emit('end') : emit(a, 'shout-all', END));
  assert.deepEqual(await emit(b, 'join', 'r'), ['r']);
  await emit(c, 'join', ['r', 's']);
  await untilRedisKnows(redis, 'r', 1);
  await untilRedisKnows(redis, 's', 1);
  const id = a.socket.id;

  const message = { text: 'é\u{1F600}', list: [1, -1, 1.5, 5e9, null, true, [Buffer.from([1, 2])]], file: Buffer.from([3]) };
  await emit(a, 'say', 'r', message);
  await emit(a, 'say', ['r', 's'], 'rooms');
  await emit(a, 'say-except', 'r', 's', 'except');
  await emit(a, 'say-others', [c.socket.id], 'to an id');
  await emit(a, 'shout', 'to others');
  await emit(a, 'shout-local', 'here');
  // Node sends it to its own clients behind the answer of Redis.
  await emit(a, 'shout-all', 'to all');
  // A node applies what it sends before Redis brings it to others.
  await until(`${name}: everything has arrived`, () => c.received.length === 5 && b.received.length === 5);
  end();
  await expect(`${name}: broadcasts`, all, [
    [['shouted', 'here', id], ['shouted', 'to all', id]],
    [['said', 'r', message, id], ['said', ['r', 's'], 'rooms', id], ['said', 'r', 'except', id], ['shouted', 'to others', id], ['shouted', 'to all', id]],
    [['said', 'r', message, id], ['said', ['r', 's'], 'rooms', id], ['said', [c.socket.id], 'to an id', id], ['shouted', 'to others', id], ['shouted', 'to all', id]],
  ]);

  for (let i = 0; i < 1000; i++) a.socket.emit('say', 'r', i);
  const numbers = Array.from({ length: 1000 }, (_, i) => ['said', 'r', i, id]);
  for (const client of [b, c]) {
    const events = [];
    while (events.length < 1000) events.push(...(await take(client, 1)));
    assert.deepEqual(events, numbers);
  }
  console.log(`ok ${name}: 1000 messages come once and in their order`);

  for (const [number, client] of all.entries()) {
    client.socket.on('vote', (ack) => ack(`vote ${number}`));
  }
  // The server waits half a second for the votes. On a busy machine that may be too short.
  const polls = [await emit(a, 'poll', ['r', id])];
  while (!polls.at(-1).complete && polls.length < 10) polls.push(await emit(a, 'poll', ['r', id]));
  const { votes, complete } = polls.at(-1);
  assert.deepEqual(votes, ['vote 0', 'vote 1', 'vote 2']);
  assert.equal(complete, true);
  console.log(`ok ${name}: acknowledgements`);

  await emit(b, 'set', { nick: 'ana' });
  const found = await emit(a, 'who', ['r', id]);
  const wanted = [
    { id, rooms: [], value: null },
    { id: b.socket.id, rooms: ['r'], value: { nick: 'ana' } },
    { id: c.socket.id, rooms: ['r', 's'], value: null },
  ];
  assert.deepEqual(found, wanted.sort((one, other) => (one.id < other.id ? -1 : 1)));
  console.log(`ok ${name}: fetchSockets`);

  const rooms = await emit(a, 'rooms');
  // Of Node's adapters only the classic one can find them.
  if (rooms.length > 0 || adapter === 'classic') {
    assert.deepEqual(rooms, ['r', 's', id, b.socket.id, c.socket.id].sort());
    console.log(`ok ${name}: allRooms`);
  }

  await emit(a, 'move', 's', 't');
  await until(`${name}: rooms change`, async () => {
    const inRoom = await emit(a, 'who', 't');
    return inRoom.length === 1 && inRoom[0].id === c.socket.id && !inRoom[0].rooms.includes('s');
  });

  await until(`${name}: the other server answers`, async () => (await emit(a, 'nodes')).join() === 'node');
  await emit(a, 'announce', { text: 'hola' });
  assert.deepEqual(await take(b, 1), [['announced', { text: 'hola' }]]);
  await take(c, 1);
  console.log(`ok ${name}: events for servers`);

  const gone = new Promise((resolve) => c.socket.on('disconnect', resolve));
  a.socket.emit('kick', 't', false);
  assert.equal(await gone, 'io server disconnect');
  console.log(`ok ${name}: disconnectSockets`);

  for (const [namespace, options, event] of [['/admin', { auth: { token: 'secret' } }, 'shout-all'], ['/tenant-1', {}, 'shout-all']]) {
    const [one, other] = [await open(from, namespace, options), await open(to, namespace, options)];
    // A dynamic namespace begins with its first client, and Redis hears of it a moment later.
    let times = 0;
    await until(`${name}: ${namespace} is in the cluster`, async () => {
      await emit(one, event, times++);
      return other.received.length > 0;
    });
    await until(`${name}: ${namespace} sends in its scope`, () => one.received.length === times && other.received.at(-1)[1] === times - 1);
    one.socket.close();
    other.socket.close();
  }
  end();
  await expect(`${name}: namespaces do not mix`, [a, b], [[], []]);
  all.forEach((client) => client.socket.close());
  await untilRedisKnows(redis, 'r', 0);
  await untilRedisKnows(redis, 's', 0);
}

/** What a program that is no server sends. */
async function checkEmitter(emitter) {
  const [a, b] = [await open(0), await open(1)];
  emitter.emit('time', 1, new Date(0), undefined);
  emitter.to(a.socket.id).emit('time', 'a', Buffer.from([1]));
  emitter.except(a.socket.id).compress(false).emit('time', 'b');
  emitter.emit('end');
  const first = ['time', 1, '1970-01-01T00:00:00.000Z', null];
  await expect('an emitter', [a, b], [[first, ['time', 'a', Buffer.from([1])]], [first, ['time', 'b']]]);
  // Both clients are ready to take it.
  emitter.volatile.emit('time', 'volatile');
  assert.deepEqual(await take(a, 1), [['time', 'volatile']]);
  assert.deepEqual(await take(b, 1), [['time', 'volatile']]);
  emitter.in([a.socket.id, b.socket.id]).socketsJoin('e');
  await until('an emitter changes rooms', async () => (await emit(a, 'who', 'e')).length === 2);
  emitter.serverSideEmit('announcement', 'from outside');
  assert.deepEqual(await take(a, 1), [['announced', 'from outside']]);
  assert.deepEqual(await take(b, 1), [['announced', 'from outside']]);
  console.log('ok an emitter sends to servers');
  const gone = [a, b].map((client) => new Promise((resolve) => client.socket.on('disconnect', resolve)));
  emitter.in('e').disconnectSockets(true);
  await Promise.all(gone);
  console.log('ok an emitter disconnects');
  [a, b].forEach((client) => client.socket.close());
}

async function main() {
  const redis = new Redis(redisPort);
  const emitter = new Emitter(redis);
  for (const server of [0, 1]) {
    const client = await open(server);
    await until(`server ${server} has another node`, async () => (await emit(client, 'nodes')).join() === 'node');
    client.socket.close();
  }
  await check(0, redis, emitter);
  await check(1, redis, emitter);
  if (adapter === 'classic') await checkEmitter(emitter);
  process.exit(0);
}

main().catch((error) => {
  console.log(`not ok: ${error.stack}`);
  process.exit(1);
});
