// `ws` of npm as a server. The test in Rust starts this script with a JSON list of rows with options of compression,
// `null` for none. It prints the ports of its servers, one for each row, as a JSON list, and then `closed CODE REASON`
// for each connection that has closed. It ends when its standard input ends.
//
// Messages are sent back. A text may be a command: see server.rs; and:
//
//   please fragment    sends a text in three fragments, with pings between them
//   please extensions  sends the header Sec-WebSocket-Extensions of the response
'use strict';

const WebSocket = require('ws');
const { Peer, sendFragments, deflateOptions } = require('./ws_peer.js');

function serve(wanted) {
  const server = new WebSocket.Server({
    port: 0,
    host: '127.0.0.1',
    perMessageDeflate: wanted === null ? false : deflateOptions(wanted),
    handleProtocols: (protocols) => ['one', 'two'].find((protocol) => protocols.has(protocol)) ?? false,
    verifyClient: ({ req }, decide) => {
      if (req.url === '/refused') decide(false, 403, 'not for you\n');
      else decide(true);
    },
  });
  server.on('headers', (headers, request) => {
    const prefix = 'Sec-WebSocket-Extensions: ';
    request.extensions = headers.find((line) => line.startsWith(prefix))?.slice(prefix.length) ?? 'none';
  });
  server.on('connection', (ws, request) => converse(new Peer(ws), request));
  return new Promise((resolve) => server.on('listening', () => resolve(server.address().port)));
}

async function converse(peer, request) {
  const { ws } = peer;
  for (;;) {
    const event = await peer.next();
    if (event.close !== undefined) {
      console.log(`closed ${event.close.join(' ')}`);
      return;
    }
    if (event.pong !== undefined) ws.send(`pong ${event.pong}`);
    if (event.message === undefined) continue;
    const { message } = event;
    if (typeof message !== 'string' || !message.startsWith('please ')) {
      ws.send(message);
      continue;
    }
    const [verb, ...rest] = message.slice('please '.length).split(' ');
    if (verb === 'close') ws.close(Number(rest[0]), rest.slice(1).join(' '));
    if (verb === 'ping') ws.ping(rest.join(' '));
    if (verb === 'answer') ws.send(request.headers['x-question'] ?? 'none');
    if (verb === 'extensions') ws.send(request.extensions);
    if (verb === 'fragment') sendFragments(ws, ['frag', 'men', 'ted'], {});
  }
}

Promise.all(JSON.parse(process.argv[2]).map(serve)).then((ports) => console.log(JSON.stringify(ports)));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
