'use strict';
// Runs in the page before its own script: a WebSocket without a network, for checks that choose what the server does
// and what the browser reports. The checks find all sockets of the page in `sockets`.

function simulateSockets() {
  window.sockets = [];
  window.WebSocket = class {
    static CONNECTING = 0;
    static OPEN = 1;
    static CLOSING = 2;
    static CLOSED = 3;

    constructor(url) {
      this.url = String(url);
      this.openedAt = Date.now();
      this.readyState = 0;
      this.bufferedAmount = 0;
      // Whether what is sent stays in the browser's buffer.
      this.isStuck = false;
      this.sent = [];
      window.sockets.push(this);
    }

    send(text) {
      this.sent.push(text);
      if (this.isStuck) this.bufferedAmount += new TextEncoder().encode(text).length;
    }

    close() {
      this.closeWith(1006, '');
    }

    open() {
      this.readyState = 1;
      this.onopen?.(new Event('open'));
    }

    receive(text) {
      this.onmessage?.(new MessageEvent('message', { data: text }));
    }

    closeWith(code, reason) {
      this.readyState = 3;
      this.onclose?.(new CloseEvent('close', { code, reason }));
    }
  };
}

module.exports = { simulateSockets };
