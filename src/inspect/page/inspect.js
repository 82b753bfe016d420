// The live page: shows the snapshots of /events, and sends commands to /control.
// Text that comes from the program or its peers is only ever set as text.
import { words } from './words.js';

const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
const PHASES = ['pending', 'poll', 'check', 'close', 'timers'];
const LANES = ['main', ...PHASES];
const QUEUES = ['ticks', 'microtasks', 'immediates', 'timers', 'events', 'ready', 'unsent', 'pending', 'closing', 'posted'];
const SPARK = 100; // Snapshots that the sparkline shows.
const BOXES = 160; // Records that the timeline draws at most.
const RECORDS = 2000; // Records that are loaded for the timeline: the causes of what is drawn may lie behind it.

let lang = 'en';
let last = null; // The last snapshot.
let isLost = false; // No snapshots arrive: what is shown is old.
let announced = '';
const highest = {};
const delays = [];

// ---- Words

/** The word for a key, with its values put in. */
function t(key, values = {}) {
  return words[lang][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function translate() {
  document.documentElement.lang = lang;
  for (const element of document.querySelectorAll('[data-t]')) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll('[data-t-label]')) element.setAttribute('aria-label', t(element.dataset.tLabel));
  for (const element of document.querySelectorAll('[data-t-placeholder]')) element.placeholder = t(element.dataset.tPlaceholder);
  buildQueues();
  announced = '';
  if (last) show(last);
  else showState();
}

const number = (n) => new Intl.NumberFormat(lang).format(n);
const percent = (share) => new Intl.NumberFormat(lang, { style: 'percent', maximumFractionDigits: share < 0.1 ? 1 : 0 }).format(share);

/** A time in microseconds, in a unit that suits it. */
function time(us) {
  if (us >= 1e6) return `${number(Math.round(us / 1e4) / 100)} s`;
  if (us >= 1000) return `${number(Math.round(us / 10) / 100)} ms`;
  return `${number(Math.round(us * 10) / 10)} µs`;
}

// ---- Elements

function make(name, attributes = {}, text = undefined) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(name, attributes = {}, text = undefined) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Sets text only if it differs, so that a selection and a screen reader are left alone. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---- Requests

/** An answer that is a refusal. Its message is the sentence of the program. */
class Refusal extends Error {}

/** Sends a request and returns its answer as JSON. */
async function request(target, body = undefined) {
  const answer = await fetch(target, body && { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Refusal((await answer.text()).trim());
  return answer.json();
}

/**
 * A function that loads something and then uses it. Answers may arrive in another order than their requests: only that
 * of the newest call is used, and none after `forget`. A failure is shown as a message.
 */
function newest(load, use) {
  let calls = 0;
  const start = async (...args) => {
    const call = calls += 1;
    let loaded;
    try {
      loaded = await load(...args);
    } catch (error) {
      if (call === calls) message(error instanceof Refusal ? error.message : t('lost'));
      return;
    }
    if (call === calls) use(loaded, ...args);
  };
  start.forget = () => calls += 1;
  return start;
}

// ---- Snapshots

function show(snapshot) {
  // The answer of a command and the events come over different connections: the older one may arrive later.
  if (snapshot.number < last?.number) return;
  last = snapshot;
  document.title = snapshot.title;
  say($('title'), snapshot.title);
  showState();
  $('read-only').hidden = !snapshot.read_only;
  const next = snapshot.next && describe(snapshot.next);
  $('next').hidden = !next;
  if (next) {
    say($('next-what'), next.what);
    say($('next-why'), next.why);
  }
  for (const queue of QUEUES) highest[queue] = Math.max(highest[queue] ?? 0, snapshot.queues[queue]);
  delays.push(snapshot.last_second.delay_p99_us);
  if (delays.length > SPARK) delays.shift();
  if (!$('loop').hidden) showLoop(snapshot);
  if (!$('connections').hidden) showConnections(snapshot);
  if (!$('timeline').hidden && snapshot.state === 'paused' && shownTurn !== standing(snapshot)) takeTimeline();
}

/** Shows the state of the last snapshot, unless the connection is lost, and which commands are possible in it. */
function showState() {
  if (!last && !isLost) return;
  const stands = !isLost && last.state === 'paused';
  const state = t(isLost ? 'lost' : last.state === 'slow' ? 'slow_state' : last.state);
  // The status is read out, so it changes only with what a listener must know.
  const status = stands && last.next ? `${state}: ${describe(last.next).what}` : state;
  if (announced !== status) {
    announced = status;
    $('state').textContent = state;
    $('announce').textContent = status;
  }
  $('state').className = isLost ? 'lost' : last.state === 'running' ? '' : 'stands';
  say($('pause').firstElementChild, t(runs() ? 'pause' : 'resume'));
  const takesCommands = !isLost && !last.read_only;
  for (const id of ['step', 'phase', 'turn']) $(id).disabled = !stands || !takesCommands;
  $('pause').disabled = !takesCommands;
  $('speed').disabled = !takesCommands || last.state === 'stepping';
  if (last && document.activeElement !== $('speed')) showSpeed(last.per_second);
}

/** Shows the speed in its select element. A script may have set one that is not in the list. */
function showSpeed(perSecond) {
  const value = perSecond === null ? '' : String(perSecond);
  let other = $('speed-other');
  if ([...$('speed').options].some((option) => option !== other && option.value === value)) {
    other?.remove();
  } else {
    if (!other) $('speed').append(other = make('option', { id: 'speed-other' }));
    other.value = value;
    say(other, t('perSecond', { n: number(perSecond) }));
  }
  $('speed').value = value;
}

/** Whether callbacks are called by themselves, slowly or not. */
const runs = () => !last || last.state === 'running' || last.state === 'slow';

/** The kind of a record, and the socket that it is about. */
function named(kind, who) {
  const name = words[lang].kinds[kind] ?? kind;
  return who ? `${name} ${who}` : name;
}

/** The callback or wait that comes next, in words. */
function describe(next) {
  if (next.kind === 'wait') {
    return { what: next.for_ms === null ? t('waitForever') : t('waitFor', { time: time(next.for_ms * 1000) }), why: '' };
  }
  const parts = [named(next.kind, next.who && t('about', { who: next.who }))];
  for (const unit of ['bytes', 'port', 'late_ms']) if (next[unit]) parts.push(t(unit, { n: number(next[unit]) }));
  // A chain of causes such as "ready #12 ← armed".
  const causes = next.cause?.split(' ← ').map((cause) => named(...cause.split(' ')));
  return { what: parts.join(', '), why: causes ? `${t('because')} ${causes.join(' ← ')}` : '' };
}

// ---- The loop

/** A point of the ring. */
function at(angle, radius) {
  const turn = ((angle - 90) * Math.PI) / 180;
  return [230 + radius * Math.cos(turn), 200 + radius * Math.sin(turn)].map((n) => n.toFixed(1)).join(' ');
}

function arc(from, to, radius, attributes) {
  return draw('path', { d: `M ${at(from, radius)} A ${radius} ${radius} 0 0 1 ${at(to, radius)}`, ...attributes });
}

function showLoop(snapshot) {
  const second = snapshot.last_second;
  const pieces = [];
  PHASES.forEach((phase, index) => {
    const [from, to] = [index * 72 - 33, index * 72 + 33];
    const share = second.phases[phase];
    const isLit = snapshot.phase === phase;
    const lit = isLit ? ' lit' : '';
    if (phase === 'poll') {
      pieces.push(arc(from, to, 96, { class: 'arc wait', 'stroke-width': 4 + 26 * Math.sqrt(second.poll_wait) }));
    }
    pieces.push(arc(from, to, 130, { class: `arc${lit}`, 'stroke-width': 8 + 40 * Math.sqrt(share) }));
    const [x, y] = at(index * 72, 176).split(' ');
    pieces.push(draw('text', { x, y, class: `name${lit}` }, isLit ? `▸ ${phase}` : phase));
    pieces.push(draw('text', { x, y: +y + 18, class: 'share soft' }, percent(share)));
  });
  pieces.push(draw('text', { x: 230, y: 168, class: 'middle soft' }, t('turnOf')));
  pieces.push(draw('text', { x: 230, y: 202, class: 'turn' }, number(snapshot.turn)));
  pieces.push(draw('text', { x: 230, y: 228, class: 'middle' }, t('waiting', { share: percent(second.poll_wait) })));
  pieces.push(draw('text', { x: 230, y: 250, class: 'share soft' }, t('afterEvery')));
  const { ticks, microtasks } = snapshot.queues;
  pieces.push(draw('text', { x: 230, y: 268, class: 'share soft' }, t('ticksNow', { n: ticks, m: microtasks })));
  $('ring').replaceChildren(...pieces);

  for (const queue of QUEUES) {
    const row = $(`queue-${queue}`);
    const [now, most] = [snapshot.queues[queue], highest[queue]];
    row.className = now > 0 ? 'busy' : '';
    say(row.children[1], number(now));
    say(row.children[2], number(most));
    const bar = row.children[3].firstChild;
    bar.max = Math.max(most, 1);
    bar.value = now;
  }

  // The first look covers all the time before it.
  const isSecond = second.span_ms <= 1500;
  say($('second-title'), isSecond ? t('lastSecond') : t('lastSpan', { time: time(second.span_ms * 1000) }));

  const figures = [
    [t('turns'), number(second.turns)],
    [t('callbacks'), number(second.callbacks)],
    [t('pollWait'), percent(second.poll_wait)],
    [t('busy'), percent(second.busy)],
    [t('delayMedian'), time(second.delay_p50_us)],
    [t('delay99'), time(second.delay_p99_us)],
    [t('delayMax'), time(second.delay_max_us)],
    [t('nextTimer'), snapshot.next_timer_ms === null ? t('noTimer') : time(snapshot.next_timer_ms * 1000)],
    [t('inspector'), percent(second.inspector)],
    [t('all'), number(snapshot.callbacks)],
    [t('up'), time(snapshot.up_ms * 1000)],
  ];
  const list = $('figures');
  if (list.children.length !== figures.length * 2) {
    list.replaceChildren(...figures.flatMap(() => [make('dt'), make('dd')]));
  }
  figures.forEach(([name, value], index) => {
    say(list.children[2 * index], name);
    say(list.children[2 * index + 1], value);
  });

  const most = Math.max(...delays, 1000);
  const points = delays.map((delay, index) => `${(300 * index) / (SPARK - 1)},${58 - (54 * delay) / most}`);
  $('spark').replaceChildren(draw('polyline', { points: points.join(' ') }));

  $('no-slow').hidden = snapshot.slow.length > 0;
  const slow = snapshot.slow.slice(-6).reverse().map((one) => {
    const text = t('slowOne', { what: [one.kind, one.who].filter(Boolean).join(' '), ms: number(one.ms) });
    return one.late_timers > 0 ? `${text}; ${t('late', { n: one.late_timers, ms: number(one.late_ms) })}` : text;
  });
  if ([...$('slow').children].map((item) => item.textContent).join() !== slow.join()) {
    $('slow').replaceChildren(...slow.map((text) => make('li', {}, text)));
  }
}

function buildQueues() {
  $('queues').tBodies[0].replaceChildren(...QUEUES.map((queue) => {
    const row = make('tr', { id: `queue-${queue}` });
    row.append(make('th', { scope: 'row' }, t(queue)), make('td', { class: 'number' }), make('td', { class: 'number' }));
    const bar = make('td', { 'aria-hidden': 'true' });
    bar.append(make('meter'));
    row.append(bar);
    return row;
  }));
}

// ---- The connections

const rows = new Map(); // By the number of the connection, so that focus stays in its row.

function showConnections(snapshot) {
  const wanted = $('filter').value.trim().toLowerCase();
  const shown = snapshot.connections.rows.filter((row) => {
    const text = `#${row.id} ${row.peer ?? t('unix')} ${stateOf(row)} ${row.paused ? t('isPaused') : ''} ${row.needs_drain ? t('needsDrain') : ''}`;
    return text.toLowerCase().includes(wanted);
  });
  say($('count'), t('count', { shown: number(shown.length), open: number(snapshot.connections.open) }));
  const elements = shown.map((row) => {
    const element = rows.get(row.id) ?? newRow(row.id);
    rows.set(row.id, element);
    fillRow(element, row);
    return element;
  });
  const body = $('rows').tBodies[0];
  const isSame = body.children.length === elements.length && elements.every((element, index) => body.children[index] === element);
  if (!isSame) {
    const focused = document.activeElement;
    body.replaceChildren(...elements);
    if (body.contains(focused)) focused.focus();
  }
  const ids = new Set(snapshot.connections.rows.map((row) => row.id));
  for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
}

const stateOf = (row) => t(row.state === 'closing' ? 'closing_state' : row.state);

function newRow(id) {
  const row = make('tr');
  const head = make('th', { scope: 'row' });
  const button = make('button', { type: 'button' }, `#${id}`);
  button.addEventListener('click', () => showLife(`#${id}`));
  head.append(button);
  row.append(head, make('td'), make('td'), make('td', { class: 'number' }), make('td', { class: 'number' }));
  for (let n = 0; n < 2; n += 1) {
    const cell = make('td');
    cell.append(make('meter'), ' ', make('span'));
    row.append(cell);
  }
  return row;
}

function fillRow(element, row) {
  const [, peer, state, received, written, inbox, queued] = element.children;
  say(peer, row.peer ?? t('unix'));
  const tags = [row.paused && ['tag', t('isPaused')], row.needs_drain && ['tag warn', t('needsDrain')]].filter(Boolean);
  const text = [stateOf(row), ...tags.map(([, tag]) => tag)].join('');
  if (state.textContent !== text) {
    state.replaceChildren(stateOf(row), ...tags.map(([name, tag]) => make('span', { class: name }, tag)));
  }
  say(received, number(row.in));
  say(written, number(row.out));
  for (const [cell, value] of [[inbox, row.inbox], [queued, row.queued + row.gathered]]) {
    const [bar, label] = cell.children;
    bar.max = row.high_water_mark;
    bar.value = value;
    bar.setAttribute('aria-label', t('full_share', { n: number(value), m: number(row.high_water_mark) }));
    say(label, number(value));
  }
}

const showLife = newest(() => trace('last=60s'), (all, who) => {
  const events = all.filter((event) => event.args?.subject === who && event.ph !== 's' && event.ph !== 'f');
  say($('life-title'), t('life', { who }));
  const items = events.slice(-200).map((event) => make('li', {}, [`${time(event.ts)}:`, ...wordsOf(event)].join(' ')));
  $('life-line').replaceChildren(...(items.length > 0 ? items : [make('li', {}, t('noLife'))]));
  $('life').hidden = false;
  $('life').scrollIntoView({ block: 'nearest' });
});

/** The name and the size of a record. */
function wordsOf(event) {
  const { args } = event;
  const parts = [named(event.name, args.subject)];
  if (args.bytes !== undefined) parts.push(t('bytes', { n: number(args.bytes) }));
  if (args.port) parts.push(t('port', { n: args.port }));
  return parts;
}

async function trace(query) {
  return (await request(`/trace.json?${query}`)).filter((event) => event.args?.n !== undefined);
}

// ---- The timeline

let shownTurn = '';
const standing = (snapshot) => `${snapshot.turn} ${snapshot.callbacks} ${snapshot.next?.kind}`;

/** Phases are the lanes; they are no boxes and no causes. */
const isDrawn = (event) => event.cat !== 'loop' || event.name === 'wait';

const loadTimeline = newest(() => trace(`last=3600s&records=${RECORDS}`), (all) => {
  drawTimeline(all.filter(isDrawn).slice(-BOXES), new Map(all.map((event) => [event.args.n, event])));
});

function takeTimeline() {
  if (last) shownTurn = standing(last);
  loadTimeline();
}

/**
 * Draws the records in their order: each callback and wait is a box, each point in time a dot. `loaded` has by number
 * also records that are not drawn: causes may lie far behind.
 */
function drawTimeline(events, loaded) {
  if (events.length === 0) {
    $('lanes').replaceChildren(make('p', {}, t('nothing')));
    return;
  }
  events.sort((a, b) => a.args.n - b.args.n);
  const left = 10;
  const places = new Map();
  const open = [];
  const borders = [];
  let x = left;
  let turn = null;
  const close = (until) => {
    while (open.length > 0 && open[open.length - 1].end <= until) {
      const box = open.pop();
      box.width = Math.max(box.width, x - box.x);
      x = Math.max(x, box.x + box.width + 4);
    }
  };
  for (const event of events) {
    close(event.ts);
    if (turn !== event.args.turn) {
      close(Infinity);
      turn = event.args.turn;
      x += 10;
      borders.push([x - 6, turn]);
    }
    const isBox = event.ph === 'X';
    const label = named(event.name, event.args.subject);
    const width = isBox ? label.length * 9.4 + 14 : 14;
    const place = { event, x, width, lane: LANES.indexOf(LANES[event.tid - 1]), depth: open.length, label, end: event.ts + (event.dur ?? 0) };
    places.set(event.args.n, place);
    if (isBox) open.push(place);
    // The content of a box is drawn behind the beginning of its name.
    x += isBox ? 10 : width + 2;
    if (isBox && place.depth === 0) x = Math.max(x, place.x + 10);
    place.minimum = place.x + width;
  }
  close(Infinity);

  // A lane is as high as its boxes are nested.
  const levels = LANES.map((_, lane) => Math.max(0, ...[...places.values()].filter((place) => place.lane === lane).map((place) => Math.min(place.depth, 2))));
  const tops = [0];
  for (const level of levels) tops.push(tops.at(-1) + 38 + 25 * level);
  const bottom = tops.at(-1);
  const total = Math.max(...[...places.values()].map((place) => place.x + place.width)) + 20;
  const svg = draw('svg', { width: total, height: bottom + 24, role: 'group' });
  const defs = draw('defs');
  const head = draw('marker', { id: 'arrow-head', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' });
  head.append(draw('path', { d: 'M 0 0 L 8 4 L 0 8 z' }));
  defs.append(head);
  svg.append(defs);
  LANES.forEach((lane, index) => {
    svg.append(draw('line', { x1: 0, x2: total, y1: tops[index + 1], y2: tops[index + 1], class: 'lane' }));
  });
  const names = draw('svg', { width: 88, height: bottom + 24, 'aria-hidden': 'true' });
  LANES.forEach((lane, index) => names.append(draw('text', { x: 8, y: tops[index] + 24 }, lane)));
  for (const [border, turn] of borders) {
    svg.append(draw('line', { x1: border, x2: border, y1: 0, y2: bottom, class: 'border' }));
    svg.append(draw('text', { x: border + 3, y: bottom + 17, class: 'soft' }, `${t('turnOf')} ${turn}`));
  }
  const top = (place) => tops[place.lane] + 7 + Math.min(place.depth, 2) * 25;
  const arrows = [];
  for (const place of places.values()) {
    const cause = places.get(place.event.args.cause);
    if (!cause || place.depth > cause.depth && cause.x + cause.width >= place.x + place.width) continue;
    const isPoint = place.event.ph !== 'X';
    const [x1, y1, x2, y2] = [cause.x + Math.min(cause.width, 12), top(cause) + 12, place.x, top(place) + 12];
    const isNear = y1 === y2 && x2 - x1 < 12;
    const way = isNear ? `L ${x2} ${y2}` : `C ${x1 + 20} ${y1 + 26}, ${x2 - 24} ${y2 + 26}, ${x2} ${y2}`;
    // Arrows to points, such as the sending of a write, are many: one is shown when its point is chosen.
    const path = draw('path', { class: isPoint ? 'arrow faint' : 'arrow', 'marker-end': 'url(#arrow-head)', d: `M ${x1} ${y1} ${way}` });
    arrows.push([path, place.event.args.n]);
    svg.append(path);
  }
  for (const place of places.values()) svg.append(drawBox(place, top(place), loaded, arrows, svg));
  const scroll = make('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': t('timeline') });
  scroll.append(svg);
  $('lanes').replaceChildren(names, scroll);
  scroll.scrollLeft = total;
  say($('about-text'), t('aboutHint'));
}

function drawBox(place, y, loaded, arrows, svg) {
  const { event } = place;
  const isBox = event.ph === 'X';
  const kind = !isBox ? 'point' : event.name === 'wait' ? 'waits' : place.depth > 0 ? 'inner' : '';
  const box = draw('g', { class: `box ${kind}`, tabindex: 0, role: 'button', 'aria-label': wordsOf(event).join(' ') });
  if (isBox) {
    box.append(draw('rect', { x: place.x, y, width: place.width, height: 24, rx: 4 }));
    box.append(draw('text', { x: place.x + 6, y: y + 18 }, place.label));
  } else {
    box.append(draw('circle', { cx: place.x + 6, cy: y + 12, r: 5 }));
  }
  box.append(draw('title', {}, wordsOf(event).join(' ')));
  const choose = () => {
    for (const chosen of svg.querySelectorAll('.chosen')) chosen.classList.remove('chosen');
    box.classList.add('chosen');
    const chain = [];
    let isCut = false;
    for (let number = event.args.cause; number !== undefined && chain.length < 8;) {
      arrows.find(([, to]) => to === (chain.length === 0 ? event.args.n : chain.at(-1).n))?.[0].classList.add('chosen');
      const cause = loaded.get(number);
      isCut = !cause;
      if (!cause || !isDrawn(cause)) break;
      chain.push({ n: number, text: wordsOf(cause).join(' ') });
      number = cause.args.cause;
    }
    const sentences = [`${wordsOf(event).join(' ')}.`];
    if (isBox) sentences.push(t('took', { time: time(event.dur) }));
    sentences.push(t('inTurn', { n: event.args.turn, phase: LANES[event.tid - 1] }));
    if (chain.length > 0) sentences.push(t('why', { chain: chain.map((cause) => cause.text).join(' ← ') }));
    if (isCut) sentences.push(t('cutWhy'));
    else if (chain.length === 0) sentences.push(t('noWhy'));
    say($('about-text'), sentences.join(' '));
  };
  box.addEventListener('click', choose);
  box.addEventListener('keydown', (press) => {
    if (press.key === 'Enter') choose();
  });
  return box;
}

// ---- The lessons

let lessons = [];
let order = []; // The places of the lines, in the viewer's order.

/**
 * Loads the lessons in the language of the page. In another language only their texts differ. So the order of the lines
 * stays, and the result of a run is still shown when it comes.
 */
const loadLessons = newest(() => request(`/lessons.json?lang=${lang}`), (list) => {
  const isFirst = lessons.length === 0;
  lessons = list;
  $('tab-lesson').hidden = lessons.length === 0;
  if (lessons.length === 0) return;
  const chosen = Math.max($('lesson-choice').selectedIndex, 0);
  $('lesson-choice').replaceChildren(...lessons.map((lesson, index) => make('option', { value: index }, `${index + 1}. ${lesson.title}`)));
  $('lesson-choice').selectedIndex = chosen;
  if (isFirst) showLesson();
  else showTexts();
});

function showTexts() {
  const lesson = lessons[$('lesson-choice').selectedIndex];
  $('lesson-source').textContent = lesson.source;
  $('lesson-note').textContent = lesson.note;
  $('lesson-hint').textContent = lesson.hint;
}

function showLesson() {
  showTexts();
  $('lesson-hint').hidden = true;
  $('lesson-hint-button').setAttribute('aria-expanded', 'false');
  order = lessons[$('lesson-choice').selectedIndex].lines.map((_, place) => place);
  forgetRun();
}

/** Removes the result of the last run. If it has not come yet, it will not be shown. */
function forgetRun() {
  runLesson.forget();
  $('lesson-result').replaceChildren();
  if (lessons.length > 0) showOrder();
}

const letter = (place) => String.fromCharCode(97 + place);

/** Draws the lines; the one at `wrong` is where the run differs first. */
function showOrder(wrong = -1) {
  const lesson = lessons[$('lesson-choice').selectedIndex];
  const items = order.map((place, index) => {
    const item = make('li', { draggable: 'true', class: index === wrong ? 'wrong' : '' });
    item.append(make('span', {}, `${index + 1}. ${letter(place)}  ${lesson.lines[place]}`));
    for (const [sign, to, key] of [['↑', index - 1, 'moveUp'], ['↓', index + 1, 'moveDown']]) {
      const button = make('button', { type: 'button', 'aria-label': t(key, { line: lesson.lines[place] }) }, sign);
      button.disabled = to < 0 || to >= order.length;
      button.addEventListener('click', () => move(index, to, key));
      item.append(button);
    }
    item.addEventListener('dragstart', (drag) => drag.dataTransfer.setData('text/plain', String(index)));
    item.addEventListener('dragover', (drag) => drag.preventDefault());
    item.addEventListener('drop', (drag) => {
      drag.preventDefault();
      const from = Number.parseInt(drag.dataTransfer.getData('text/plain'), 10);
      if (from in order) move(from, index);
    });
    return item;
  });
  $('lesson-lines').replaceChildren(...items);
}

/** Moves a line, and keeps the focus on its button. */
function move(from, to, key) {
  order.splice(to, 0, ...order.splice(from, 1));
  forgetRun();
  const buttons = $('lesson-lines').children[to].querySelectorAll('button');
  if (key) [...buttons].filter((button) => !button.disabled).at(key === 'moveUp' ? 0 : -1)?.focus();
}

/** Runs the lesson that is shown. Its result is about these lines in this order: a change of them forgets it. */
const runLesson = newest(() => request(`/lesson?lang=${lang}`, { lesson: $('lesson-choice').selectedIndex, order }), (run) => {
  const wrong = run.right ? -1 : order.findIndex((place, index) => place !== run.order[index]);
  showOrder(wrong);
  const { lines } = lessons[$('lesson-choice').selectedIndex];
  const verdict = run.right ? t('right') : t('wrong', { n: wrong + 1, expected: lines[order[wrong]], ran: lines[run.order[wrong]] });
  const ran = t('theRun', { order: run.order.map((place) => `${letter(place)} ${lines[place]}`).join(' → ') });
  $('lesson-result').replaceChildren(make('p', {}, verdict), make('p', {}, run.text), make('p', { class: 'soft' }, ran));
});

$('lesson-choice').addEventListener('change', showLesson);
$('lesson-run').addEventListener('click', () => runLesson());
$('lesson-hint-button').addEventListener('click', () => {
  $('lesson-hint').hidden = !$('lesson-hint').hidden;
  $('lesson-hint-button').setAttribute('aria-expanded', String(!$('lesson-hint').hidden));
});

// ---- Commands

function message(text) {
  say($('message'), text);
  $('message').hidden = text === '';
}

async function control(command) {
  message('');
  try {
    show(await request('/control', command));
  } catch (error) {
    // The sentences of the program are in English.
    const key = ['notNow', 'stepRuns', 'isClosing'].find((name) => words.en[name] === error.message);
    message(key ? t(key) : error instanceof Refusal ? error.message : t('lost'));
  }
}

function toggle() {
  if (!runs()) $('speed').value = '';
  return control({ do: runs() ? 'pause' : 'resume' });
}

const step = (unit) => control({ do: 'step', unit });

$('pause').addEventListener('click', toggle);
for (const [id, unit] of [['step', 'callback'], ['phase', 'phase'], ['turn', 'turn']]) {
  $(id).addEventListener('click', () => step(unit));
}
$('speed').addEventListener('change', () => {
  const speed = $('speed').value;
  control(speed === '' ? { do: 'resume' } : { do: 'speed', per_second: Number(speed) });
});
$('filter').addEventListener('input', () => last && showConnections(last));
$('take').addEventListener('click', takeTimeline);
// After a click with the mouse the space bar is free for the pause again.
document.addEventListener('click', (click) => {
  if (click.detail > 0) click.target.closest?.('button')?.blur();
});

document.addEventListener('keydown', (press) => {
  const { target, key } = press;
  if (press.ctrlKey || press.altKey || press.metaKey || target.matches('input, select, textarea')) return;
  const isButton = target.matches('button');
  const action = {
    ' ': () => toggle(), n: () => step('callback'), p: () => step('phase'), t: () => step('turn'),
  }[key];
  if (!action || key === ' ' && isButton || isLost || last?.read_only) return;
  press.preventDefault();
  if (!press.repeat) action();
});

// ---- Screens

const tabs = () => [...document.querySelectorAll('[role="tab"]:not([hidden])')];

function choose(tab) {
  for (const other of document.querySelectorAll('[role="tab"]')) {
    other.setAttribute('aria-selected', String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    $(other.getAttribute('aria-controls')).hidden = other !== tab;
  }
  if (tab.id === 'tab-timeline') takeTimeline();
  if (last) show(last);
}

for (const tab of document.querySelectorAll('[role="tab"]')) tab.addEventListener('click', () => choose(tab));
$('tabs').addEventListener('keydown', (press) => {
  const all = tabs();
  const index = all.indexOf(document.activeElement);
  const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: all.length - 1 }[press.key];
  if (to === undefined || index < 0) return;
  press.preventDefault();
  const tab = all[(to + all.length) % all.length];
  tab.focus();
  choose(tab);
});

// ---- Start

$('lang').addEventListener('change', () => {
  lang = $('lang').value;
  translate();
  forgetRun(); // Its result is in the other language.
  loadLessons();
});
lang = navigator.languages.map((name) => name.slice(0, 2)).find((name) => name in words) ?? 'en';
$('lang').value = lang;
translate();
loadLessons();

/** Says why the stream of snapshots was refused: an EventSource does not tell the status. */
async function explainRefusal() {
  const status = await fetch('/state.json').then((answer) => answer.status, () => 0);
  // A full server and a program that answers have no place for one more page.
  message(t({ 200: 'tooMany', 503: 'tooMany', 401: 'newToken' }[status] ?? 'lost'));
}

const events = new EventSource('/events');
events.addEventListener('message', (event) => show(JSON.parse(event.data)));
events.addEventListener('open', () => {
  isLost = false;
  showState();
});
events.addEventListener('error', () => {
  isLost = true;
  showState();
  if (events.readyState === EventSource.CLOSED) explainRefusal();
});
