'use strict';
// The live page in a real browser.
//
//   node inspect.js URL ECHO_PORT [FOLDER]
//
// `bucle serve echo --inspect` must be listening on both; the URL has the token. Prints a line for every check, and
// exits with 1 if one failed. With a folder it makes screenshots of the screens there instead.

const assert = require('node:assert/strict');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { chromium } = require('playwright-core');
const harness = require('./harness');

const { LIMIT_MS, contrasts, sleep, until, which } = harness;
const [url, echoPort, folder] = process.argv.slice(2);
const origin = new URL(url).origin;
const token = new URL(url).searchParams.get('t');

let browser;

/** Sends a command as a script does. */
async function control(command) {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`${origin}/control`, { method: 'POST', headers, body: JSON.stringify(command) });
  return { status: answer.status, text: await answer.text() };
}

/** A snapshot as text. */
async function snapshot() {
  const answer = await fetch(`${origin}/state.json`, { headers: { authorization: `Bearer ${token}` } });
  return answer.text();
}

/** The state of the loop. The page shows it a moment later. */
async function state() {
  return JSON.parse(await snapshot()).state;
}

/** A client of the echo server that keeps what it has received. */
class Peer {
  static peers = [];

  static async connect() {
    const peer = new Peer();
    Peer.peers.push(peer);
    peer.text = '';
    peer.socket = net.connect(Number(echoPort), '127.0.0.1');
    peer.socket.on('error', () => {}).setEncoding('utf8').on('data', (text) => peer.text += text);
    await new Promise((resolve) => peer.socket.on('connect', resolve));
    return peer;
  }

  async ask(text) {
    this.text = '';
    this.socket.write(text);
    await until(`the echo of ${text}`, () => this.text === text);
  }

  static endAll() {
    Peer.peers.splice(0).forEach((peer) => peer.socket.destroy());
  }
}

/** The page in a browser window. */
class Tab {
  /** Opens the page. With `intercepts`, `route` and `hold` can be used. */
  static async open({ intercepts = false, ...options } = {}) {
    const tab = new Tab();
    tab.problems = [];
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-US', ...options });
    const page = tab.page = await context.newPage();
    page.setDefaultTimeout(LIMIT_MS);
    page.on('console', (message) => tab.problems.push(message.text()));
    page.on('pageerror', (error) => tab.problems.push(String(error)));
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== origin) tab.problems.push(`a request to ${request.url()}`);
    });
    page.on('response', (response) => {
      if (response.status() >= 400) tab.problems.push(`${response.status()} ${response.url()}`);
    });
    if (intercepts) await tab.intercept();
    await page.goto(url);
    await tab.isIn('running');
    return tab;
  }

  /**
   * Opens a page whose event stream ends behind one snapshot, and is opened again after `retry` milliseconds. Then
   * `again` handles the request. With a `status`, requests for `/state.json` get it. `first` is
   * the snapshot.
   */
  static async openWithStream(retry, again, { status, first, locale = 'en-US' } = {}) {
    const tab = new Tab();
    tab.page = await (await browser.newContext({ locale })).newPage();
    let isFirst = true;
    const body = `retry: ${retry}\ndata: ${first ?? await snapshot()}\n\n`;
    await tab.intercept();
    await tab.route('**/events', async (route) => {
      if (!isFirst) return again(route);
      isFirst = false;
      return route.fulfill({ contentType: 'text/event-stream', body });
    });
    if (status) await tab.route('**/state.json', (route) => route.fulfill({ status }));
    await tab.page.goto(url);
    return tab;
  }

  /**
   * Lets the browser ask about each request of the page. This must be done before the page is loaded: a request that
   * follows soon behind the first `page.route` of a loaded page is sometimes sent without a question.
   */
  intercept() {
    this.intercepts = true;
    return this.page.route('**/no-such-file', (route) => route.continue());
  }

  /** Handles the requests for `pattern` in place of the program. */
  route(pattern, handle) {
    assert.ok(this.intercepts, 'a page whose requests are routed is opened with `intercepts`');
    return this.page.route(pattern, handle);
  }

  isIn(state) {
    return until(`the state ${state}`, async () => await this.page.locator('#state').textContent() === state);
  }

  next() {
    return this.page.locator('#next-what').textContent();
  }

  async isNext(pattern) {
    try {
      await until(`${pattern} to come next`, async () => pattern.test(await this.next()));
    } catch (error) {
      const shown = await this.page.locator('#state').textContent();
      throw new Error(`${error.message}. The page shows the state ${shown} and next ${await this.next()}`);
    }
  }

  press(key) {
    return this.page.keyboard.press(key);
  }

  /** Presses a key that steps, and waits until the loop has got the command. */
  async step(key) {
    const answered = this.page.waitForResponse((response) => response.url().endsWith('/control'));
    await this.press(key);
    await answered;
  }

  /** Holds the answers to requests for `pattern` until the returned function is called with an index. */
  async hold(pattern) {
    const held = [];
    await this.route(pattern, async (route) => {
      const response = await route.fetch();
      let deliver;
      const isDelivered = new Promise((resolve) => deliver = resolve);
      const done = isDelivered.then(() => route.fulfill({ response }));
      held.push(async () => {
        deliver();
        await done;
        await this.settle();
      });
    });
    return async (index) => {
      await until('a request', () => held[index] !== undefined);
      await held[index]();
    };
  }

  /** Waits until the page has handled what it has received before. */
  settle() {
    return this.page.evaluate(async () => {
      await (await fetch('/icon.svg')).text();
      await new Promise((resolve) => setTimeout(resolve));
    });
  }

  /** Opens a screen. */
  choose(name) {
    return this.page.getByRole('tab', { name, exact: true }).click();
  }
}

function check(name, body) {
  return harness.check(name, body, async () => {
    await control({ do: 'resume' });
    Peer.endAll();
    const tabs = browser.contexts().flatMap((context) => context.pages());
    await Promise.all(browser.contexts().map((context) => context.close()));
    assert.ok(tabs.length <= 4);
  });
}

async function checks() {
  await check('the URL leads to a page without the token in it, and nothing is wrong there', async () => {
    const tab = await Tab.open();
    assert.equal(tab.page.url(), `${origin}/`);
    const peer = await Peer.connect();
    await peer.ask('hola');
    for (const name of ['Connections', 'Timeline', 'Loop']) await tab.choose(name);
    await sleep(300);
    assert.deepEqual(tab.problems, []);
  });

  await check('a page on another port of the same host cannot use it, though it is sent the cookie', async () => {
    const tab = await Tab.open();
    let cookie = '';
    const other = http.createServer((request, answer) => {
      cookie += request.headers.cookie ?? '';
      answer.setHeader('content-type', 'text/html').end('<p>other</p>');
    });
    await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
    const page = await tab.page.context().newPage();
    await page.goto(`http://127.0.0.1:${other.address().port}/`);
    const loaded = await page.evaluate((source) => new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve('loaded');
      image.onerror = () => resolve('refused');
      image.src = source;
    }), `${origin}/icon.svg`);
    other.close();
    assert.ok(cookie.includes(token), 'browsers do not tell ports apart');
    assert.equal(loaded, 'refused');
  });

  await check('with the keyboard alone the loop is paused, stepped and resumed', async () => {
    const tab = await Tab.open();
    const peer = await Peer.connect();
    await peer.ask('before');
    await tab.press('Space');
    await tab.isIn('paused');
    await tab.isNext(/waits until something happens/);
    peer.text = '';
    peer.socket.write('held');
    // Two waits at most: one that a step had begun, and the one that the bytes end.
    await tab.step('n');
    await tab.isNext(/^on_data of #\d+, 4 bytes$/);
    assert.match(await tab.page.locator('#next-why').textContent(), /^because of ready #\d+/);
    assert.equal(peer.text, '', 'nothing is answered');
    await tab.step('n');
    await tab.isNext(/waits/);
    await until('the echo', () => peer.text === 'held');
    for (const key of ['p', 't']) {
      peer.socket.write('more');
      await tab.step(key);
      // The page may still show that it is paused from before the step.
      await until('the end of the step', async () => await state() === 'paused');
    }
    await tab.press('Space');
    await tab.isIn('running');
    await peer.ask('after');
    assert.deepEqual(tab.problems, []);
  });

  await check('an answer that arrives behind a newer event does not replace it', async () => {
    const tab = await Tab.open({ intercepts: true });
    const peer = await Peer.connect();
    await peer.ask('before');
    await tab.press('Space');
    await tab.isIn('paused');
    await tab.isNext(/waits until something happens/);
    let deliver;
    const isEnough = new Promise((resolve) => deliver = resolve);
    let first;
    await tab.route('**/control', async (route) => {
      // After a second: nothing has happened yet.
      const response = await route.fetch();
      first = (await response.json()).state;
      peer.socket.write('held');
      await isEnough;
      await route.fulfill({ response });
    });
    // It comes only behind the two waits below. When one of them fails, that failure is the one to report.
    const answered = tab.page.waitForResponse((response) => response.url().endsWith('/control'), { timeout: 0 });
    answered.catch(() => {});
    await tab.press('n');
    await until('the answer to the step', () => first !== undefined);
    assert.equal(first, 'stepping');
    await tab.isNext(/^on_data of #\d+, 4 bytes$/);
    deliver();
    await (await answered).finished();
    await tab.settle();
    assert.equal(await tab.page.locator('#state').textContent(), 'paused');
    assert.ok(await tab.page.locator('#step').isEnabled());
  });

  await check('without a connection the page says so, whatever is clicked', async () => {
    const tab = await Tab.openWithStream(3_600_000, (route) => route.abort());
    await tab.isIn('no connection to the program');
    await tab.choose('Connections');
    assert.equal(await tab.page.locator('#state').textContent(), 'no connection to the program');
    assert.equal(await tab.page.locator('#state').getAttribute('class'), 'lost');
    assert.ok(await tab.page.locator('#pause').isDisabled());
    await tab.page.getByLabel('Language').selectOption('es');
    await tab.settle();
    assert.equal(await tab.page.locator('#state').textContent(), 'sin conexión con el programa');
  });

  for (const [spanMs, locale, words] of [
    [1004, 'en-US', 'Last second'], [61_500, 'en-US', 'Last 61.5 s'], [300, 'es-CL', 'Último segundo'], [61_500, 'es-CL', 'Últimos 61,5 s'],
  ]) {
    await check(`figures of ${spanMs} ms are headed "${words}"`, async () => {
      const now = JSON.parse(await snapshot());
      now.last_second.span_ms = spanMs;
      const tab = await Tab.openWithStream(3_600_000, (route) => route.abort(), { first: JSON.stringify(now), locale });
      await tab.page.getByRole('heading', { name: words, exact: true }).waitFor();
    });
  }

  for (const [status, streamStatus, words] of [
    [401, 401, 'The program was started again. Open the URL that it has printed now.'],
    [200, 503, 'Four pages are watching already. Close one and load this page again.'],
    [503, 503, 'Four pages are watching already. Close one and load this page again.'],
    [421, 421, 'no connection to the program'],
  ]) {
    await check(`the page says why it gets no snapshots, if the answer is ${status}`, async () => {
      const tab = await Tab.openWithStream(1, (route) => route.fulfill({ status: streamStatus }), { status });
      await tab.page.getByRole('alert').filter({ hasText: words }).waitFor();
    });
  }

  await check('when the connection is back the page shows the state again', async () => {
    const tab = await Tab.openWithStream(1, (route) => route.continue());
    await tab.isIn('running');
    await control({ do: 'pause' });
    await tab.isIn('paused');
    await tab.page.getByRole('button', { name: 'Next callback' }).and(tab.page.locator(':enabled')).waitFor();
  });

  await check('the speed of the loop is shown, and can be set to full, also behind a reload', async () => {
    const tab = await Tab.open();
    const speed = tab.page.getByLabel('Speed');
    const isShown = (name) => until(name, async () => await speed.locator('option:checked').textContent() === name);
    await control({ do: 'speed', per_second: 4 });
    await isShown('4 callbacks a second');
    await tab.page.reload();
    await tab.isIn('slow');
    await isShown('4 callbacks a second');
    await control({ do: 'speed', per_second: 20.5 });
    await isShown('20.5 callbacks a second');
    await speed.selectOption('full');
    await tab.isIn('running');
    await tab.page.locator('h1').click();
    await control({ do: 'speed', per_second: 1 });
    await isShown('1 callback a second');
    await tab.press('Space');
    await tab.isIn('paused');
    await isShown('full');
    assert.equal(await speed.locator('option').count(), 3);
  });

  await check('of two lists of lessons the one in the language that was chosen last is shown', async () => {
    const tab = await Tab.open({ intercepts: true });
    await tab.choose('Lesson');
    const title = tab.page.locator('#lesson-choice option').first();
    const english = await title.textContent();
    const deliver = await tab.hold('**/lessons.json?*');
    await tab.page.getByLabel('Language').selectOption('es');
    await tab.page.getByLabel('Idioma').selectOption('en');
    await deliver(1);
    await deliver(0);
    assert.equal(await title.textContent(), english);
  });

  await check('a change of the language keeps the order of a lesson, and a run in the new language', async () => {
    const tab = await Tab.open({ intercepts: true });
    await tab.choose('Lesson');
    const lines = tab.page.locator('#lesson-lines li span');
    const result = tab.page.locator('#lesson-result');
    await tab.page.getByRole('button', { name: /^Move .* down$/ }).first().click();
    const order = await lines.allTextContents();
    assert.match(order[0], /^1\. b /);
    await tab.page.getByRole('button', { name: 'Hint' }).click();
    await tab.page.getByRole('button', { name: 'Run it' }).click();
    await until('a result', async () => /The loop ran/.test(await result.textContent()));
    const deliver = await tab.hold('**/lessons.json?*');
    await tab.page.getByLabel('Language').selectOption('es');
    assert.equal(await result.textContent(), '', 'it is in English');
    await tab.page.getByRole('button', { name: 'Correrlo' }).click();
    await until('a result', async () => /El bucle corrió/.test(await result.textContent()));
    const spanish = await result.textContent();
    await deliver(0);
    assert.equal(await result.textContent(), spanish);
    assert.deepEqual(await lines.allTextContents(), order);
    assert.match(await tab.page.locator('#lesson-note').textContent(), /^En Node: /);
    assert.ok(await tab.page.locator('#lesson-hint').isVisible());
    assert.deepEqual(tab.problems, []);
  });

  await check('the result of a lesson that is no longer shown is left out', async () => {
    const tab = await Tab.open({ intercepts: true });
    await tab.choose('Lesson');
    const run = tab.page.getByRole('button', { name: 'Run it' });
    const result = tab.page.locator('#lesson-result');
    const deliver = await tab.hold('**/lesson?*');
    await run.click();
    await tab.page.locator('#lesson-choice').selectOption('1');
    await deliver(0);
    assert.equal(await result.textContent(), '', 'another program');
    await run.click();
    await tab.page.getByRole('button', { name: /^Move .* down$/ }).first().click();
    await deliver(1);
    assert.equal(await result.textContent(), '', 'another order');
    await run.click();
    await deliver(2);
    assert.match(await result.textContent(), /The loop ran/);
  });

  await check('an older timeline does not replace a newer one', async () => {
    const tab = await Tab.open({ intercepts: true });
    const deliver = await tab.hold('**/trace.json?*');
    await tab.choose('Timeline');
    const peer = await Peer.connect();
    await peer.ask('hola');
    await tab.page.getByRole('button', { name: 'Show the last turns' }).click();
    const port = peer.socket.localPort;
    const box = tab.page.locator('#lanes').getByRole('button', { name: new RegExp(`^on_connection .* from port ${port}$`) });
    await deliver(1);
    assert.equal(await box.count(), 1);
    await deliver(0);
    assert.equal(await box.count(), 1);
  });

  await check('a request that fails is said, and is no error of the page', async () => {
    const tab = await Tab.open({ intercepts: true });
    await tab.route('**/trace.json?*', (route) => route.abort());
    await tab.choose('Timeline');
    const alert = tab.page.getByRole('alert');
    await alert.filter({ hasText: 'no connection to the program' }).waitFor();
    await tab.choose('Lesson');
    await tab.route('**/lesson?*', (route) => route.fulfill({ status: 500, body: 'the lesson has failed\n' }));
    await tab.page.getByRole('button', { name: 'Run it' }).click();
    await alert.filter({ hasText: 'the lesson has failed' }).waitFor();
    await tab.route('**/lessons.json?*', (route) => route.abort());
    await tab.page.getByLabel('Language').selectOption('es');
    await alert.filter({ hasText: 'sin conexión con el programa' }).waitFor();
    assert.deepEqual(tab.problems.filter((text) => /TypeError|Uncaught/.test(text)), []);
  });

  await check('a message stays also on a page that only shows', async () => {
    const readOnly = JSON.stringify({ ...JSON.parse(await snapshot()), read_only: true });
    let events = 0;
    const again = (route) => {
      events += 1;
      return route.fulfill({ contentType: 'text/event-stream', body: `retry: 1\ndata: ${readOnly}\n\n` });
    };
    const tab = await Tab.openWithStream(1, again, { first: readOnly });
    await tab.page.getByText('This page only shows.').waitFor();
    await tab.route('**/lesson?*', (route) => route.fulfill({ status: 500, body: 'the lesson has failed\n' }));
    await tab.choose('Lesson');
    await tab.page.getByRole('button', { name: 'Run it' }).click();
    const alert = tab.page.getByRole('alert');
    await alert.filter({ hasText: 'the lesson has failed' }).waitFor();
    const before = events;
    await until('more snapshots', () => events > before + 2);
    assert.equal(await alert.textContent(), 'the lesson has failed');
    await tab.page.getByText('This page only shows.').waitFor();
    await tab.page.getByLabel('Language').selectOption('es');
    await tab.page.getByText('Esta página solo muestra.').waitFor();
  });

  await check('screens are chosen with arrow keys, and every control has a name', async () => {
    const tab = await Tab.open();
    await tab.page.getByRole('tab', { name: 'Loop', exact: true }).focus();
    for (const name of ['Connections', 'Timeline', 'Lesson', 'Loop']) {
      await tab.press('ArrowRight');
      await tab.page.getByRole('tab', { name, exact: true, selected: true }).waitFor();
      await tab.page.getByRole('tabpanel', { name, exact: true }).waitFor();
    }
    const nameless = await tab.page.evaluate(() => {
      const named = (element) => element.labels?.length > 0 || element.textContent.trim() || element.getAttribute('aria-label');
      return [...document.querySelectorAll('button, select, input, [role]')]
        .filter((element) => !named(element) && !element.getAttribute('aria-labelledby') && element.getAttribute('role') !== 'status' && element.getAttribute('role') !== 'alert')
        .map((element) => element.outerHTML);
    });
    assert.deepEqual(nameless, []);
    await tab.page.getByRole('button', { name: /Pause/ }).waitFor();
    await tab.page.getByRole('img', { name: /One turn of the loop/ }).waitFor();
  });

  await check('a screen reader hears the state and what comes next', async () => {
    const tab = await Tab.open();
    const status = tab.page.getByRole('status');
    assert.equal(await status.textContent(), 'running');
    await control({ do: 'pause' });
    await until('the pause in the status', async () => /^paused: the loop waits/.test(await status.textContent()));
  });

  await check('connections are listed, filtered, and each tells its life', async () => {
    const tab = await Tab.open();
    const peer = await Peer.connect();
    await peer.ask('hola');
    await tab.choose('Connections');
    const row = tab.page.locator('#rows tbody tr');
    await until('one row', async () => await row.count() === 1);
    // The page may have a snapshot of the moment before the echo.
    const text = new RegExp(`127\\.0\\.0\\.1:${peer.socket.localPort}open44`);
    await until('its bytes', async () => text.test(await row.textContent()));
    await tab.page.getByRole('searchbox', { name: 'Filter' }).fill('no such peer');
    await until('no row', async () => await row.count() === 0);
    await tab.page.getByRole('searchbox', { name: 'Filter' }).fill(String(peer.socket.localPort));
    await until('the row again', async () => await row.count() === 1);
    await row.getByRole('button').press('Enter');
    await until('its life', async () => {
      const life = await tab.page.locator('#life-line').textContent();
      return /on_connection.*on_data.*4 bytes.*write.*sent/.test(life);
    });
    assert.deepEqual(tab.problems, []);
  });

  await check('the timeline shows boxes that say why they ran', async () => {
    const tab = await Tab.open();
    const peer = await Peer.connect();
    await peer.ask('hola');
    await control({ do: 'pause' });
    await tab.isIn('paused');
    await tab.choose('Timeline');
    const box = tab.page.locator('#lanes').getByRole('button', { name: /^on_data #\d+ 4 bytes$/ }).last();
    await box.focus();
    await tab.press('Enter');
    await until('the reason', async () => {
      const about = await tab.page.locator('#about-text').textContent();
      return /^on_data #\d+ 4 bytes\. It took .*phase poll\. It ran because of ready #\d+/.test(about);
    });
    assert.deepEqual(tab.problems, []);
  });

  await check('a box tells its causes also if they are too far behind to be drawn', async () => {
    const tab = await Tab.open({ intercepts: true });
    // As in /trace.json: a record, then 300 others, then two that the first one and an older one have caused.
    const record = (n, name, subject, cause) => (
      { name, cat: 'callback', ph: 'X', pid: 1, tid: 3, ts: n * 10, dur: 5, args: { n, turn: 7, subject, cause } }
    );
    const ticks = Array.from({ length: 300 }, (_, index) => record(101 + index, 'tick'));
    const events = [record(100, 'on_connection', '#7', 3), ...ticks, record(500, 'on_data', '#7', 100), record(501, 'on_end', '#7', 4)];
    await tab.route('**/trace.json?*', (route) => route.fulfill({ json: events }));
    await tab.choose('Timeline');
    const about = tab.page.locator('#about-text');
    const choose = (name) => tab.page.locator('#lanes').getByRole('button', { name }).last().press('Enter');
    await choose('on_data #7');
    assert.match(await about.textContent(), /It ran because of on_connection #7\. An earlier cause is not among the records that were loaded\.$/);
    await choose('on_end #7');
    assert.match(await about.textContent(), /phase poll\. An earlier cause is not among the records that were loaded\.$/);
    await choose('tick');
    assert.match(await about.textContent(), /Nothing that was recorded has caused it\.$/);
  });

  await check('the page speaks Spanish', async () => {
    const tab = new Tab();
    const context = await browser.newContext({ locale: 'es-CL' });
    tab.page = await context.newPage();
    await tab.page.goto(url);
    await tab.isIn('corriendo');
    await tab.page.getByRole('button', { name: /Pausar/ }).waitFor();
    assert.equal(await tab.page.evaluate(() => document.documentElement.lang), 'es');
    await tab.page.getByLabel('Idioma').selectOption('en');
    await tab.isIn('running');
    await tab.page.getByLabel('Language').selectOption('es');
    await tab.isIn('corriendo');
    // Words of both languages are the same only where they are names.
    const same = await tab.page.evaluate(async () => {
      const { words } = await import('/words.js');
      const differ = Object.keys(words.en).filter((key) => !(key in words.es)).concat(Object.keys(words.es).filter((key) => !(key in words.en)));
      return differ;
    });
    assert.deepEqual(same, []);
    // A refusal, and the reason of a wrong order.
    await tab.page.evaluate(() => document.querySelector('#step').disabled = false);
    await tab.step('n');
    await tab.page.getByRole('alert').filter({ hasText: 'el bucle corre: primero páusalo' }).waitFor();
    await tab.choose('Lección');
    await tab.page.getByRole('button', { name: 'Correrlo' }).press('Enter');
    await until('the reason', async () => {
      const result = await tab.page.locator('#lesson-result').textContent();
      return /^Línea 1: esperabas "microtask", el bucle corrió "main"\."main" corrió en el cuerpo principal;/.test(result);
    });
  });

  for (const locale of ['en-US', 'es-CL']) {
    await check(`with the words of ${locale} the columns of the loop do not overlap`, async () => {
      const context = await browser.newContext({ locale, viewport: { width: 1280, height: 800 } });
      const page = await context.newPage();
      await page.goto(url);
      await page.locator('#figures dt').first().waitFor();
      const [queues, figures] = await page.evaluate(() => ['queues', 'figures'].map((id) => {
        const { left, right } = document.getElementById(id).getBoundingClientRect();
        return { left, right };
      }));
      assert.ok(queues.right < figures.left, `${queues.right} and ${figures.left}`);
    });
  }

  for (const colorScheme of ['light', 'dark']) {
    await check(`texts have contrast on a ${colorScheme} page`, async () => {
      const tab = await Tab.open({ colorScheme });
      await (await Peer.connect()).ask('hola');
      for (const state of ['running', 'paused']) {
        for (const name of ['Loop', 'Connections', 'Timeline', 'Lesson']) {
          await tab.choose(name);
          for (const [what, ratio] of await tab.page.evaluate(contrasts, 'h1, h2, p, th, td, dt, dd, li, button:enabled, select, input, figcaption, #state')) {
            assert.ok(ratio >= 4.5, `${ratio.toFixed(2)} for ${what} (${state})`);
          }
        }
        await control({ do: 'pause' });
        await tab.isIn('paused');
        if (state === 'paused') break;
      }
    });
  }

  await check('on a phone nothing is wider than the screen', async () => {
    const tab = await Tab.open({ viewport: { width: 360, height: 740 } });
    await (await Peer.connect()).ask('hola');
    for (const name of ['Connections', 'Timeline', 'Lesson', 'Loop']) {
      await tab.choose(name);
      const wide = await tab.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wide <= 0, `${name} is ${wide} pixels too wide`);
    }
  });

  for (const language of ['en', 'es']) {
    await check(`on a phone the tabs of ${language} are in one row`, async () => {
      const tab = await Tab.open({ viewport: { width: 360, height: 740 } });
      await tab.page.getByLabel('Language').selectOption(language);
      await tab.page.locator('#tab-lesson').waitFor();
      const boxes = await tab.page.evaluate(() => [...document.querySelectorAll('[role="tab"]')].map((button) => {
        const { top, right, height } = button.getBoundingClientRect();
        return { text: button.textContent, top, right, height };
      }));
      const [{ top, height }] = boxes;
      const isInRow = (box) => box.top === top && box.height === height && box.right <= 360;
      assert.ok(boxes.length === 4 && boxes.every(isInRow), JSON.stringify(boxes));
    });
  }

  await check('a lesson is put in order with the keyboard, run, and explained', async () => {
    const tab = await Tab.open();
    await tab.choose('Lesson');
    const lines = tab.page.locator('#lesson-lines li span');
    const shown = async () => (await lines.allTextContents()).map((line) => line.replace(/^\d+\. . +/, ''));
    await until('the lines', async () => (await shown()).length > 1);
    assert.match(await tab.page.locator('#lesson-note').textContent(), /^In Node: next_tick = process\.nextTick;/);
    const run = tab.page.getByRole('button', { name: 'Run it' });
    const result = tab.page.locator('#lesson-result');
    await run.press('Enter');
    await until('a result', async () => /The loop ran/.test(await result.textContent()));
    const ran = (await result.locator('p').last().textContent()).replace(/^The loop ran |\.$/g, '').split(' → ').map((line) => line.slice(2));
    assert.match(await result.textContent(), /^Line \d: you expected "/);
    for (const [place, line] of ran.entries()) {
      while ((await shown()).indexOf(line) > place) await tab.page.getByRole('button', { name: `Move ${line} up`, exact: true }).press('Enter');
    }
    assert.deepEqual(await shown(), ran);
    await run.press('Enter');
    await until('the praise', async () => /^Right!/.test(await result.textContent()));
    await tab.page.getByRole('button', { name: 'Hint' }).press('Enter');
    await tab.page.locator('#lesson-hint').waitFor();
    assert.deepEqual(tab.problems, []);
  });

  await check('a command that makes no sense is answered with a sentence', async () => {
    const tab = await Tab.open();
    await tab.page.evaluate(() => document.querySelector('#step').disabled = false);
    assert.equal((await control({ do: 'step', unit: 'turn' })).status, 409);
    await tab.step('n');
    await tab.page.getByRole('alert').filter({ hasText: 'the loop runs: pause it first' }).waitFor();
  });
}

/** The four screens, in both colours, for the README and for a look. */
async function screenshots() {
  for (const [name, colorScheme, locale] of [['light', 'light', 'en-US'], ['dark', 'dark', 'es-CL']]) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme, locale });
    const page = await context.newPage();
    await page.goto(url);
    const peers = await Promise.all(Array.from({ length: 12 }, () => Peer.connect()));
    const traffic = setInterval(() => peers.forEach((peer) => peer.socket.write('hola\n'.repeat(1 + Math.random() * 3))), 7);
    await sleep(2500);
    await page.screenshot({ path: path.join(folder, `loop-running-${name}.png`) });
    await page.locator('#tab-connections').click();
    await sleep(300);
    await page.screenshot({ path: path.join(folder, `connections-${name}.png`) });
    await control({ do: 'pause' });
    for (let step = 0; step < 5; step += 1) await control({ do: 'step', unit: 'callback' });
    await page.locator('#tab-loop').click();
    await sleep(300);
    await page.screenshot({ path: path.join(folder, `loop-paused-${name}.png`) });
    await page.locator('#tab-timeline').click();
    await page.locator('#lanes g.box').last().waitFor();
    await page.locator('#lanes g.box:not(.point):not(.waits)').last().press('Enter');
    await page.screenshot({ path: path.join(folder, `timeline-${name}.png`) });
    await page.locator('#tab-lesson').click();
    await page.locator('#lesson-run').click();
    await page.locator('#lesson-result p').last().waitFor();
    await page.screenshot({ path: path.join(folder, `lesson-${name}.png`) });
    clearInterval(traffic);
    await control({ do: 'resume' });
    Peer.endAll();
    await page.setViewportSize({ width: 390, height: 844 });
    await page.locator('#tab-loop').click();
    await sleep(300);
    await page.screenshot({ path: path.join(folder, `phone-${name}.png`), fullPage: true });
    await context.close();
  }
}

async function main() {
  setTimeout(() => {
    console.log('not ok the script takes too long');
    process.exit(1);
  }, 10 * LIMIT_MS).unref();
  browser = await chromium.launch({ executablePath: which('chromium'), args: ['--headless=new', '--no-sandbox'], timeout: LIMIT_MS });
  console.log(`# Chromium ${browser.version()}`);
  if (folder === undefined) await checks();
  else await screenshots();
  await browser.close();
  process.exit(harness.failures() === 0 ? 0 : 1);
}

main().catch((error) => {
  console.log(`not ok the script itself\n  ${error.stack}`);
  process.exit(1);
});
