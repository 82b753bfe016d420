// A connection of `ws` whose events are read one after the other. Shared by ws_client.js and ws_server.js.
'use strict';

const crypto = require('crypto');

class Peer {
  constructor(ws) {
    this.ws = ws;
    this.events = [];
    this.waiting = null;
    ws.on('open', () => this.push({ open: true }));
    ws.on('message', (data, isBinary) => this.push({ message: isBinary ? data : data.toString() }));
    ws.on('ping', (data) => this.push({ ping: data.toString() }));
    ws.on('pong', (data) => this.push({ pong: data.toString() }));
    ws.on('close', (code, reason) => this.push({ close: [code, reason.toString()] }));
    ws.on('error', (error) => this.push({ error: error.message }));
  }

  push(event) {
    if (this.waiting === null) {
      this.events.push(event);
      return;
    }
    const resolve = this.waiting;
    this.waiting = null;
    resolve(event);
  }

  /** The next event. */
  next() {
    if (this.events.length > 0) return Promise.resolve(this.events.shift());
    return new Promise((resolve) => (this.waiting = resolve));
  }

  /** The next event, which must be a message. */
  async message() {
    const event = await this.next();
    if (event.message === undefined) throw new Error(`no message but ${JSON.stringify(event)}`);
    return event.message;
  }
}

/** Sends the pieces as fragments of one message, with a ping behind each but the last. */
function sendFragments(ws, pieces, options) {
  pieces.forEach((piece, i) => {
    const isLast = i + 1 === pieces.length;
    ws.send(piece, { ...options, fin: isLast });
    if (!isLast) ws.ping(`between ${i}`);
  });
}

/** The options of `ws` for what the test calls server and client. */
function deflateOptions(wanted) {
  return {
    threshold: 0,
    // `false` would refuse the parameter.
    ...(wanted.server_no_context_takeover && { serverNoContextTakeover: true }),
    ...(wanted.client_no_context_takeover && { clientNoContextTakeover: true }),
    // 15 is the default and need not be negotiated.
    ...(wanted.server_max_window_bits < 15 && { serverMaxWindowBits: wanted.server_max_window_bits }),
    ...(wanted.client_max_window_bits < 15 && { clientMaxWindowBits: wanted.client_max_window_bits }),
  };
}

const randomBytes = (length) => crypto.randomBytes(length);

module.exports = { Peer, sendFragments, deflateOptions, randomBytes };
