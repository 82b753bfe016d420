// `ws` of npm as a client. The test in Rust starts this script with one JSON argument:
//
//   {"kind": "plain", "port": 1}     what every server that echoes must do
//   {"kind": "commands", "port": 1}  what the test's own server does
//   {"kind": "deflate", "rows": []}  compression, one row for each pair of options
//
// It prints a line `ok NAME` for each check that passes, and `closed CODE REASON` for each close frame that the server
// must have received. It exits with 1 at the first check that fails.
'use strict';

const assert = require('assert');
const http = require('http');
const WebSocket = require('ws');
const { Peer, sendFragments, deflateOptions, randomBytes } = require('./ws_peer.js');

const LENGTHS = [0, 1, 2, 124, 125, 126, 127, 128, 65535, 65536, 65537, 1024 * 1024 - 1, 1024 * 1024];
const REASONS = [
  [1000, ''], [1000, 'bye'], [1001, 'going'], [1002, 'a'], [1003, 'b'], [1007, 'c'], [1008, 'd'], [1009, 'e'],
  [1010, 'f'], [1011, 'g'], [1012, 'h'], [1013, 'i'], [1014, 'j'], [3000, 'k'], [3999, 'l'], [4000, 'm'],
  [4999, '¡adiós! 🎉'], [4001, 'ñ'.repeat(61) + 'n'],
];

async function open(port, options = {}, protocols = [], path = '/') {
  const url = `ws://127.0.0.1:${port}${path}`;
  const peer = new Peer(new WebSocket(url, protocols, { perMessageDeflate: false, ...options }));
  const event = await peer.next();
  assert.deepStrictEqual(event, { open: true });
  return peer;
}

/** Closes, and prints what the server must have received. */
async function close(peer, code, reason = '') {
  if (code === undefined) peer.ws.close();
  else peer.ws.close(code, reason);
  console.log(`closed ${code ?? 1005} ${reason}`);
  assert.deepStrictEqual(await peer.next(), { close: [code ?? 1005, ''] });
}

async function check(name, f) {
  try {
    await f();
  } catch (error) {
    console.log(`not ok ${name}: ${error.stack}`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

async function plain({ port }) {
  await check('texts and binary messages of all lengths', async () => {
    const peer = await open(port);
    for (const length of LENGTHS) {
      const bytes = randomBytes(length);
      peer.ws.send(bytes);
      assert(bytes.equals(await peer.message()), `binary of ${length} bytes`);
      // The second text is as long, but for the bytes that are missing to a whole character.
      for (const text of ['x'.repeat(length), '€🎉'.repeat(length / 7)]) {
        peer.ws.send(text);
        assert(text === (await peer.message()), `text of ${Buffer.byteLength(text)} bytes`);
      }
    }
    await close(peer, 1000, 'lengths');
  });

  await check('many messages before the first answer is read', async () => {
    const peer = await open(port);
    for (let i = 0; i < 1000; i++) peer.ws.send(`message ${i}`);
    for (let i = 0; i < 1000; i++) assert.strictEqual(await peer.message(), `message ${i}`);
    await close(peer, 1000, 'many');
  });

  await check('fragments with pings between them', async () => {
    const peer = await open(port);
    const euro = Buffer.from('€🎉');
    const table = [
      ['a', 'b'],
      ['', '', 'x', ''],
      ['x'.repeat(125), 'y'.repeat(126), 'z'.repeat(65536)],
      // Each byte of a character in a fragment of its own.
      [...euro].map((_, i) => euro.subarray(i, i + 1)),
    ];
    for (const pieces of table) {
      const whole = Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
      for (const binary of [true, false]) {
        sendFragments(peer.ws, pieces, { binary });
        for (let i = 0; i + 1 < pieces.length; i++) assert.deepStrictEqual(await peer.next(), { pong: `between ${i}` });
        const answer = await peer.message();
        assert(binary ? whole.equals(answer) : whole.toString() === answer);
      }
    }
    await close(peer, 1000, 'fragments');
  });

  await check('pings are answered with their payload', async () => {
    const peer = await open(port);
    for (const payload of ['', 'x', 'y'.repeat(125)]) {
      peer.ws.ping(payload);
      assert.deepStrictEqual(await peer.next(), { pong: payload });
    }
    // A pong that nobody has asked for is ignored.
    peer.ws.pong('unasked');
    peer.ws.send('still here');
    assert.strictEqual(await peer.message(), 'still here');
    await close(peer, 1000, 'pings');
  });

  await check('close codes and reasons from the client', async () => {
    for (const [code, reason] of REASONS) await close(await open(port), code, reason);
    await close(await open(port));
  });

  await check('a connection that is lost', async () => {
    const peer = await open(port);
    peer.ws.terminate();
    console.log('closed 1006 ');
  });

  await check('100 connections at once', async () => {
    const peers = await Promise.all(Array.from({ length: 100 }, () => open(port)));
    for (let round = 0; round < 5; round++) {
      peers.forEach((peer, i) => peer.ws.send(`${round} ${i} ${'x'.repeat(i * 10)}`));
      for (let i = 0; i < peers.length; i++) {
        assert.strictEqual(await peers[i].message(), `${round} ${i} ${'x'.repeat(i * 10)}`);
      }
    }
    await Promise.all(peers.map((peer, i) => close(peer, 4000 + i, `connection ${i}`)));
  });
}

async function commands({ port }) {
  await check('close codes and reasons from the server', async () => {
    for (const [code, reason] of REASONS) {
      const peer = await open(port);
      peer.ws.send(`please close ${code} ${reason}`);
      assert.deepStrictEqual(await peer.next(), { close: [code, reason] });
      // `ws` answers with the same code and reason.
      console.log(`closed ${code} ${reason}`);
    }
  });

  await check('pings from the server', async () => {
    const peer = await open(port);
    for (const payload of ['', 'hola', 'y'.repeat(125)]) {
      peer.ws.send(`please ping ${payload}`);
      assert.deepStrictEqual(await peer.next(), { ping: payload });
      assert.deepStrictEqual(await peer.next(), { message: `pong ${payload}` });
    }
    await close(peer, 1000, 'pinged');
  });

  await check('subprotocols', async () => {
    const peer = await open(port, {}, ['three', 'two', 'one']);
    assert.strictEqual(peer.ws.protocol, 'two');
    await close(peer, 1000, 'subprotocol');
    const without = await open(port);
    assert.strictEqual(without.ws.protocol, '');
    await close(without, 1000, 'no subprotocol');
    const refused = new Peer(new WebSocket(`ws://127.0.0.1:${port}/`, ['three']));
    assert.deepStrictEqual(await refused.next(), { error: 'Server sent no subprotocol' });
    console.log('closed 1006 ');
  });

  await check('headers of the request and of the response', async () => {
    const headers = { 'X-Question': '¿que?' };
    const ws = new WebSocket(`ws://127.0.0.1:${port}/?a=b`, { headers, perMessageDeflate: true });
    let response;
    ws.on('upgrade', (message) => (response = message));
    const peer = new Peer(ws);
    assert.deepStrictEqual(await peer.next(), { open: true });
    assert.strictEqual(response.headers['x-answer'], '¿que?');
    assert.strictEqual(response.headers['sec-websocket-extensions'], undefined);
    assert.strictEqual(ws.extensions, '');
    await close(peer, 1000, 'headers');
    const asking = await open(port, { headers: { 'X-Question': '42' } });
    asking.ws.send('please answer');
    assert.strictEqual(await asking.message(), '42');
    await close(asking, 1000, 'headers');
  });

  await check('origins', async () => {
    const same = await open(port, { origin: `http://127.0.0.1:${port}` });
    await close(same, 1000, 'origin');
    assert.deepStrictEqual((await refusal(port, '/', { origin: 'http://example.com' })).status, 403);
  });

  await check('a refusal', async () => {
    assert.deepStrictEqual(await refusal(port, '/refused', {}), { status: 403, body: 'not for you\n' });
  });

  await check('another version of the protocol', async () => {
    const { status, versions } = await new Promise((resolve, reject) => {
      const headers = {
        Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': 8,
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      };
      http.get({ port, host: '127.0.0.1', headers, agent: false }, (response) => {
        response.resume();
        resolve({ status: response.statusCode, versions: response.headers['sec-websocket-version'] });
      }).on('error', reject);
    });
    assert.deepStrictEqual({ status, versions }, { status: 426, versions: '13' });
  });
}

function refusal(port, path, options) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, options);
    ws.on('error', reject);
    ws.on('open', () => reject(new Error('not refused')));
    ws.on('unexpected-response', (_, response) => {
      let body = '';
      response.on('data', (part) => (body += part));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
  });
}

async function deflate({ rows }) {
  for (const row of rows) {
    await check(`compression: ${row.name}`, async () => {
      const ws = new WebSocket(`ws://127.0.0.1:${row.port}/`, { perMessageDeflate: deflateOptions(row.client) });
      ws.on('upgrade', (response) => console.log(`agreed ${response.headers['sec-websocket-extensions']}`));
      const peer = new Peer(ws);
      assert.deepStrictEqual(await peer.next(), { open: true });
      const echo = async (message) => {
        ws.send(message);
        const answer = await peer.message();
        assert(Buffer.from(message).equals(Buffer.from(answer)), `${message.length} bytes`);
      };
      const count = async () => {
        ws.send('please count');
        return (await peer.message()).split(' ').slice(1).map(Number);
      };
      for (const length of LENGTHS) {
        await echo('x'.repeat(length));
        await echo(randomBytes(length));
      }
      await echo('añb🎉'.repeat(10000));
      // The same message again and again: short only if the context is kept.
      const same = randomBytes(200);
      let before = await count();
      for (let i = 0; i < 20; i++) await echo(same);
      let after = await count();
      console.log(`repeated ${after[0] - before[0]} ${after[1] - before[1]}`);
      // A message that repeats itself at a distance of 4,000 bytes: short only if the window is larger.
      before = await count();
      const block = randomBytes(4000);
      await echo(Buffer.concat(Array(10).fill(block)));
      after = await count();
      console.log(`distant ${after[0] - before[0]} ${after[1] - before[1]}`);
      // Fragments of a compressed message, with pings between them.
      const pieces = ['hola '.repeat(100), '', 'a'.repeat(70000), 'adiós'];
      for (let i = 0; i < 3; i++) {
        sendFragments(ws, pieces, {});
        for (let i = 0; i + 1 < pieces.length; i++) assert.deepStrictEqual(await peer.next(), { pong: `between ${i}` });
        assert(pieces.join('') === (await peer.message()));
      }
      // Without compression, although it was agreed on.
      ws.send('y'.repeat(1000), { compress: false });
      assert.strictEqual(await peer.message(), 'y'.repeat(1000));
      await close(peer, 1000, row.name);
    });
  }
}

const config = JSON.parse(process.argv[2]);
const main = { plain, commands, deflate }[config.kind];
const limit = setTimeout(() => {
  console.log('not ok: out of time');
  process.exit(1);
}, 240000);
main(config).then(() => clearTimeout(limit));
