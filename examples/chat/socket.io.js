'use strict';
// A small client of Socket.IO 4 for pages: events in the main namespace, over WebSocket, without acknowledgements and
// binary values. Its functions have the names of the npm client.
//
//   const socket = io();
//   socket.on('chat message', (text) => { … });
//   socket.emit('chat message', 'hola');
//
// Messages of the protocol begin with the type of Engine.IO, and those of type 4 then have the type of Socket.IO:
//
//   0{"pingInterval":25000,…}    2 ping    3 pong    40 connect    41 disconnect    42["name",…] event    44 refused

/** Connects to the server of this page. A lost connection is opened again. */
function io() {
  // The wait before the next attempt doubles with every failure.
  const FIRST_WAIT_MS = 1000;
  const MAX_WAIT_MS = 5000;

  const listeners = new Map();
  const socket = {
    /** The id of the socket while it is connected. */
    id: undefined,
    connected: false,
    /** Listens for an event: of the server, or `connect`, `connect_error` and `disconnect` of the client itself. */
    on(name, listener) {
      listeners.set(name, [...(listeners.get(name) ?? []), listener]);
      return socket;
    },
    /** Sends an event. Without a connection it is kept until there is one. */
    emit(name, ...args) {
      const message = `42${JSON.stringify([name, ...args])}`;
      if (socket.connected) ws.send(message);
      else unsent.push(message);
      return socket;
    },
  };
  let ws;
  let unsent = [];
  let failures = 0;

  function call(name, ...args) {
    for (const listener of listeners.get(name) ?? []) listener(...args);
  }

  function open() {
    const url = new URL('/socket.io/?EIO=4&transport=websocket', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    ws = new WebSocket(url);
    let limitMs = MAX_WAIT_MS;
    let timer;
    let reason = 'transport close';
    // The server pings. Without pings the connection is lost, although nothing has closed it.
    const restartTimer = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        reason = 'ping timeout';
        ws.onmessage = null;
        lose();
        ws.close();
      }, limitMs);
    };
    const lose = () => {
      clearTimeout(timer);
      ws.onclose = null;
      if (socket.connected) {
        socket.connected = false;
        socket.id = undefined;
        call('disconnect', reason);
      }
      // As in the client of npm: a server that has disconnected a client does not want it back.
      if (reason === 'io server disconnect') return;
      const wait = Math.min(FIRST_WAIT_MS * 2 ** failures, MAX_WAIT_MS);
      failures += 1;
      // A server that starts again must not meet all its clients in one moment.
      setTimeout(open, wait * (0.5 + Math.random()));
    };
    ws.onclose = lose;
    ws.onmessage = ({ data }) => {
      restartTimer();
      if (data.startsWith('0')) {
        const { pingInterval, pingTimeout } = JSON.parse(data.slice(1));
        limitMs = pingInterval + pingTimeout;
        restartTimer();
        ws.send('40');
      } else if (data === '2') {
        ws.send('3');
      } else if (data.startsWith('40')) {
        failures = 0;
        socket.id = JSON.parse(data.slice(2)).sid;
        socket.connected = true;
        const messages = unsent;
        unsent = [];
        messages.forEach((message) => ws.send(message));
        call('connect');
      } else if (data.startsWith('42')) {
        // The number of an acknowledgement may come before the arguments.
        call(...JSON.parse(data.slice(data.indexOf('['))));
      } else if (data === '41') {
        reason = 'io server disconnect';
        ws.close();
      } else if (data.startsWith('44')) {
        reason = 'io server disconnect';
        call('connect_error', new Error(JSON.parse(data.slice(2)).message));
        ws.close();
      }
    };
    restartTimer();
  }

  open();
  return socket;
}
