// The chat in a browser. One text message of the WebSocket is one line, in both directions.
//
//   the box ── Enter ──▶ outbox ── while connected ──▶ socket ──▶ server
//                                                        │
//   the log ◀── once per frame ── arrived ◀──────────────┘
//
// The server sends a line back to its author, so the page shows no line before the server has it. A line that is typed
// without a connection stays in the outbox. `arrived`, the log and the outbox have limits.
//
// Lines that the browser has passed to the network are not sent again. If they are lost there, they are lost: a line may
// be missing, but it never comes twice.

// How many lines the log keeps.
const LOG_LIMIT = 1000;

// How many lines may wait for a connection.
const OUTBOX_LIMIT = 100;

// The wait before an attempt to connect: it doubles with every failure, up to the maximum.
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 10_000;

// An attempt that takes longer is given up. Without that, a network that drops packets stops all attempts for minutes.
const OPEN_LIMIT_MS = 10_000;

// After a connection of this length the waits start from the first one again.
const STABLE_MS = 10_000;

// Browsers run no animation frames in a background tab. Then a timer renders.
const RENDER_LIMIT_MS = 200;

// Codes of RFC 6455, section 7.4.1, and of the registry that it set up.
const NORMAL = 1000;
const GOING_AWAY = 1001;
// Protocol error, unsupported data, invalid text, policy, too big, "try again later".
const REFUSALS = [1002, 1003, 1007, 1008, 1009, 1013];

// Everything that some program may take for the end of a line.
const LINE_BREAK = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/;

// "ana: hola", "ana (to you only): hola" and "ana (to bo only): hola". Nicks have at most 20 characters.
const SAID = /^([^\s:]{1,20}(?: \(to [^\s:]{1,20} only\))?: )(.*)$/su;
const NOTICE = /^-- | has (?:joined|left)$/;

// What the server says about a member. No member can send such a line: what members say begins with a nick or a star.
const GREETING = /^¡Bienvenido! You are (\S+), in the (\S+)\. /;
const RENAMED = /^-- (\S+) is now called (\S+)$/;
const MOVED = /^-- (\S+) has joined (\S+)$/;

const log = document.getElementById('log');
const form = document.getElementById('form');
const box = document.getElementById('box');

// ---- The log ----

// Lines that are not in the log yet.
let arrived = [];
let frame = 0;
let timer = 0;
// Whether the log scrolls to each new line. It does not while the reader has scrolled up.
let isFollowing = true;
// How far the log was scrolled when this was looked at last.
let scrolledTo = 0;

function receive(line) {
  learn(line);
  arrived.push(line);
  // A background tab may render once a minute.
  if (arrived.length >= 2 * LOG_LIMIT) arrived.splice(0, LOG_LIMIT);
  if (timer !== 0) return;
  frame = requestAnimationFrame(render);
  timer = setTimeout(render, RENDER_LIMIT_MS);
}

function render() {
  cancelAnimationFrame(frame);
  clearTimeout(timer);
  timer = 0;
  log.append(...arrived.slice(-LOG_LIMIT).map(elementOf));
  arrived = [];
  while (log.childElementCount > LOG_LIMIT) log.firstElementChild.remove();
  if (isFollowing) scrollToNewest();
}

function elementOf(line) {
  const element = document.createElement('p');
  element.dir = 'auto';
  const [, author, text] = SAID.exec(line) ?? [];
  if (author !== undefined) {
    const bold = document.createElement('b');
    bold.textContent = author;
    // A nick in Latin letters must not set the direction of an Arabic or Hebrew text.
    const isolated = document.createElement('bdi');
    isolated.textContent = text;
    element.append(bold, isolated);
  } else {
    element.textContent = line;
    if (NOTICE.test(line)) element.className = 'notice';
  }
  return element;
}

function scrollToNewest() {
  isFollowing = true;
  log.scrollTop = log.scrollHeight;
  scrolledTo = log.scrollTop;
}

log.addEventListener('scroll', () => {
  // The event comes a frame later. When the log has become smaller meanwhile, its end is out of sight, but the reader
  // has not scrolled up.
  const isUp = log.scrollTop < scrolledTo;
  scrolledTo = log.scrollTop;
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  if (isAtEnd || isUp) isFollowing = isAtEnd;
});

// The log gets smaller when a phone shows its keyboard.
new ResizeObserver(() => {
  if (isFollowing) scrollToNewest();
}).observe(log);

// ---- The outbox ----

// Lines that no socket has got yet, oldest first.
let outbox = [];
// Whether a text was too much for the outbox and is still in the box.
let isOutboxFull = false;

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const lines = box.value.split(LINE_BREAK).filter((line) => line.trim() !== '');
  isOutboxFull = !isOpen() && lines.length > 0 && outbox.length + lines.length > OUTBOX_LIMIT;
  if (!isOutboxFull) {
    outbox.push(...lines);
    box.value = '';
    scrollToNewest();
    if (link === 'left' && lines.length > 0) {
      link = 'opening';
      connect();
    }
  }
  flush();
  showState();
  // After a click on the button a phone would hide its keyboard.
  box.focus();
});

// Enter sends. A pasted text keeps its line breaks until then. The Enter key that ends the composition of a Japanese or
// Chinese word does not come here.
box.addEventListener('beforeinput', (event) => {
  if (event.inputType !== 'insertLineBreak' && event.inputType !== 'insertParagraph') return;
  event.preventDefault();
  form.requestSubmit();
});

function flush() {
  if (!isOpen()) return;
  for (const line of outbox) give(line);
  outbox = [];
}

// ---- The nick and the room ----

// The nick that this page has now, and the room in which its connection began.
let nick = '';
let firstRoom = '';
// The nick and the room that the reader has chosen. The server forgets them when the connection is lost.
let chosenNick = '';
let chosenRoom = '';

function learn(line) {
  const greeting = GREETING.exec(line);
  if (greeting !== null) [, nick, firstRoom] = greeting;
  const renamed = RENAMED.exec(line);
  if (renamed?.[1] === nick) chosenNick = nick = renamed[2];
  const moved = MOVED.exec(line);
  if (moved?.[1] === nick) chosenRoom = moved[2];
}

// These are the first lines of a new connection. So the lines in the outbox go to the right room, under the right nick.
function chooseAgain() {
  if (chosenNick !== '') put(`/nick ${chosenNick}`);
  if (chosenRoom !== '' && chosenRoom !== firstRoom) put(`/join ${chosenRoom}`);
}

// ---- The connection ----

// 'opening', 'open', 'lost' (an attempt follows) or 'left' (by the wish of the reader).
let link = 'opening';
let socket = null;
let failures = 0;
let retryTimer = 0;
// Why the server closed the connection. It is shown until the next connection.
let closing = '';
// Lines that the socket may not have sent yet. `end` is the number of bytes of all lines up to this one.
let given = [];
let givenBytes = 0;

const encoder = new TextEncoder();

function isOpen() {
  return socket !== null && socket.readyState === WebSocket.OPEN;
}

function connect() {
  clearTimeout(retryTimer);
  retryTimer = 0;
  const url = new URL('ws', location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  socket = new WebSocket(url);
  const openLimit = setTimeout(() => socket.close(), OPEN_LIMIT_MS);
  let openedAt = Infinity;
  socket.onopen = () => {
    clearTimeout(openLimit);
    openedAt = performance.now();
    link = 'open';
    closing = '';
    isOutboxFull = false;
    chooseAgain();
    flush();
    showState();
  };
  socket.onmessage = ({ data }) => {
    if (typeof data === 'string') receive(data);
  };
  socket.onclose = (event) => {
    clearTimeout(openLimit);
    if (performance.now() - openedAt >= STABLE_MS) failures = 0;
    lose(event);
  };
}

function give(line) {
  if (socket.bufferedAmount === 0) given = [];
  put(line);
  given.push({ line, end: givenBytes });
}

function put(line) {
  givenBytes += encoder.encode(line).length;
  socket.send(line);
}

// The connection is closed, or an attempt has failed.
function lose({ code, reason }) {
  const sentBytes = givenBytes - socket.bufferedAmount;
  const unsent = given.filter(({ end }) => end > sentBytes).map(({ line }) => line);
  given = [];
  givenBytes = 0;
  socket = null;
  if (reason !== '') closing = reason;
  else if (code === GOING_AWAY) closing = 'the server is going away';
  else if (REFUSALS.includes(code)) closing = `code ${code}`;
  if (code === NORMAL) {
    link = 'left';
  } else {
    link = 'lost';
    // The server does not want this client now, so the longest wait follows.
    if (REFUSALS.includes(code)) failures = Infinity;
    retryTimer = setTimeout(connect, nextWaitMs());
  }
  if (REFUSALS.includes(code)) {
    // One of these lines may be the cause. Sent again, it would close the next connection, too.
    box.value = [...unsent, box.value].filter((text) => text !== '').join('\n');
  } else {
    outbox.unshift(...unsent);
  }
  showState();
}

// Half of the wait is random: a server that starts again must not meet all its clients in one moment.
function nextWaitMs() {
  const wait = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** failures);
  failures += 1;
  return wait / 2 + (wait / 2) * Math.random();
}

function retryNow() {
  if (retryTimer !== 0) connect();
}

addEventListener('online', retryNow);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) retryNow();
});

// ---- What the page says about itself ----

function showState() {
  document.documentElement.dataset.link = link;
  const sentences = [linkSentence()];
  if (outbox.length > 0) sentences.push(`${outbox.length} unsent ${outbox.length === 1 ? 'line' : 'lines'}.`);
  if (isOutboxFull) sentences.push(`Only ${OUTBOX_LIMIT} lines can wait: your text stays in the box.`);
  const status = document.getElementById('status');
  const text = sentences.join(' ');
  // A screen reader reads every change aloud.
  if (status.textContent !== text) status.textContent = text;
  showOutbox();
}

function linkSentence() {
  const because = closing === '' ? '' : ` (${closing})`;
  switch (link) {
    case 'opening': return 'Connecting…';
    case 'open': return 'Connected.';
    case 'left': return `You have left the chat${because}. Send a line to come back.`;
    default: return `Connection lost${because}. Reconnecting…`;
  }
}

function showOutbox() {
  document.getElementById('unsent').hidden = outbox.length === 0;
  const list = document.getElementById('unsent-lines');
  list.replaceChildren(...outbox.map((line) => {
    const item = document.createElement('li');
    item.dir = 'auto';
    item.textContent = line;
    return item;
  }));
  list.scrollTop = list.scrollHeight;
}

showState();
connect();
