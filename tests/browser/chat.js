'use strict';
// The chat's page in a real browser.
//
//   node chat.js BASE_URL TELNET_PORT
//
// `bucle serve chat --http` must be listening on both. Prints a line for every check, and exits with 1 if one failed.
//
//   page in Chromium ──▶ proxy that can cut ──▶ BASE_URL ── chat ── TELNET_PORT ◀── telnet client
//
// Chromium maps the server's address to the proxy, so Host and Origin are those of BASE_URL.

const assert = require('node:assert/strict');
const { chromium } = require('playwright-core');
const harness = require('./harness');
const { simulateSockets } = require('./simulated_socket');

const { LIMIT_MS, Proxy, Telnet, contrasts, sleep, until, which } = harness;
const [baseUrl, telnetPort] = process.argv.slice(2);
/** Text that a page with mistakes would run, or show otherwise. */
const NASTY = '<script>document.title = "run"</script><img src=x onerror=alert(1)> & ñandú 你好 🎈';

// Both exist before the first check.
let browser;
let proxy;

/** The page in a browser window, and what a check needs of it. */
class Tab {
  /** Opens the page. `options` are those of the browser's context; `prepare` runs in the page before its script. */
  static async open(options = {}, prepare = undefined) {
    const tab = new Tab();
    tab.problems = [];
    tab.requests = [];
    const context = await browser.newContext({ viewport: { width: 900, height: 600 }, ...options });
    const page = tab.page = await context.newPage();
    page.setDefaultTimeout(LIMIT_MS);
    page.on('console', (message) => tab.problems.push(message.text()));
    page.on('pageerror', (error) => tab.problems.push(String(error)));
    page.on('request', (request) => tab.requests.push(request.url()));
    page.on('response', (response) => {
      if (response.status() >= 400) tab.problems.push(`${response.status()} ${response.url()}`);
    });
    page.on('websocket', (socket) => tab.requests.push(socket.url()));
    if (prepare !== undefined) await page.addInitScript(prepare);
    tab.log = page.getByRole('log');
    tab.box = page.getByRole('textbox');
    tab.button = page.getByRole('button');
    tab.status = page.getByRole('status');
    await page.goto(baseUrl);
    return tab;
  }

  /** Opens the page and waits for the greeting. */
  static async enter(options) {
    const tab = await Tab.open(options);
    await until('the greeting in the page', async () => (await tab.lines()).some((line) => line.includes('You are')));
    return tab;
  }

  /** Opens the page on simulated sockets, with a first connection. */
  static async simulate() {
    const tab = await Tab.open({}, simulateSockets);
    await tab.page.evaluate(() => sockets.at(-1).open());
    return tab;
  }

  /** The text of every line of the log. */
  lines() {
    return this.log.evaluate((log) => [...log.children].map((line) => line.textContent));
  }

  async count(text) {
    return (await this.lines()).filter((line) => line === text || line.endsWith(`: ${text}`)).length;
  }

  shows(text) {
    return until(`${text} in the page`, async () => await this.count(text) > 0);
  }

  says(pattern) {
    return until(`${pattern} in the status`, async () => pattern.test(await this.status.innerText()));
  }

  async send(text) {
    await this.box.fill(text);
    await this.box.press('Enter');
  }

  /** How many pixels of the log are below its visible part. */
  below() {
    return this.log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  }

  isAtEnd() {
    return until('the newest line to be visible', async () => await this.below() < 2);
  }

  /** Makes a simulated page connect without a wait, unless its timer was sooner. */
  async retry() {
    await this.page.evaluate(() => window.dispatchEvent(new Event('online')));
    assert.equal(await this.page.evaluate(() => sockets.at(-1).readyState), 0, 'it connects again');
  }

  /** A few frames and timers of the page. */
  settle() {
    return this.page.evaluate(() => new Promise((resolve) => setTimeout(() => requestAnimationFrame(resolve), 250)));
  }
}

/** Runs one check. Then all tabs and telnet clients are closed, and the proxy works. */
function check(name, body) {
  return harness.check(name, body, async () => {
    Telnet.endAll();
    proxy.mend();
    for (const context of browser.contexts()) await context.close();
  });
}

async function withTheServer() {
  await check('the page loads without errors and without requests to other origins', async () => {
    const tab = await Tab.enter();
    await tab.send('a first line');
    await tab.shows('a first line');
    assert.deepEqual(tab.problems, []);
    assert.ok(tab.requests.some((url) => url.endsWith('/ws')), 'it opens the WebSocket');
    for (const url of tab.requests) {
      assert.ok(url.startsWith('data:') || new URL(url).host === new URL(baseUrl).host, url);
    }
  });

  await check('a telnet client and the page read each other', async () => {
    const tab = await Tab.enter();
    const telnet = await Telnet.connect(telnetPort);
    telnet.write(NASTY);
    await tab.shows(NASTY);
    await tab.send(`back: ${NASTY}`);
    await telnet.receives(`back: ${NASTY}`);
    await tab.shows(`back: ${NASTY}`);
    assert.equal(await tab.count(`back: ${NASTY}`), 1, 'the author sees the line once');
    assert.equal(await tab.log.locator('script, img').count(), 0, 'no text becomes an element');
    assert.doesNotMatch(await tab.page.title(), /run/);
    assert.deepEqual(tab.problems, []);
    telnet.end();
    await until('its leaving', async () => (await tab.lines()).some((line) => line.endsWith(' has left')));
  });

  await check('every part has a role and a name', async () => {
    const tab = await Tab.enter();
    for (const [role, name] of [['log', 'Messages'], ['textbox', 'Message'], ['button', 'Send']]) {
      assert.equal(await tab.page.getByRole(role, { name, exact: true }).count(), 1, role);
    }
    await tab.says(/Connected/);
    assert.ok(await tab.status.isVisible());
    assert.equal(await tab.page.locator('html').getAttribute('lang'), 'en');
  });

  await check('the keyboard is enough', async () => {
    const tab = await Tab.enter();
    const { keyboard } = tab.page;
    const isInBox = () => tab.box.evaluate((box) => box === document.activeElement);
    assert.ok(await isInBox(), 'the box has the focus from the start');
    await keyboard.type('by Enter');
    await keyboard.press('Enter');
    await tab.shows('by Enter');
    assert.equal(await tab.box.inputValue(), '');
    assert.ok(await isInBox(), 'after Enter');
    await keyboard.type('by the button');
    await keyboard.press('Tab');
    assert.ok(await tab.button.evaluate((button) => button.matches(':focus-visible')));
    const outline = await tab.button.evaluate((button) => getComputedStyle(button).outlineStyle);
    assert.notEqual(outline, 'none', 'the focus can be seen');
    await keyboard.press('Enter');
    await tab.shows('by the button');
    assert.equal(await tab.box.inputValue(), '');
    assert.ok(await isInBox(), 'after the button');
    await keyboard.press('Enter');
    await keyboard.press('Shift+Tab');
    assert.ok(await tab.log.evaluate((log) => log === document.activeElement), 'the log can be scrolled by keys');
  });

  await check('several lines become several messages, in order', async () => {
    const tab = await Tab.enter();
    const telnet = await Telnet.connect(telnetPort);
    await tab.box.focus();
    await tab.page.keyboard.insertText('paste 1\npaste 2\r\n\n  \npaste 3\u2028paste 4');
    await tab.box.press('Enter');
    await telnet.receives('paste 4');
    const pasted = telnet.lines.filter((line) => line.includes('paste')).map((line) => line.replace(/^.*?: /, ''));
    assert.deepEqual(pasted, ['paste 1', 'paste 2', 'paste 3', 'paste 4']);
  });

  await check('the log keeps the last lines and has a limit', async () => {
    const tab = await Tab.enter();
    const telnet = await Telnet.connect(telnetPort);
    // In portions, because the server limits what it holds for one member.
    for (let from = 0; from < 1_200; from += 100) {
      const lines = Array.from({ length: 100 }, (_, index) => `number ${from + index}`);
      telnet.write(lines.join('\r\n'));
      await tab.shows(`number ${from + 99}`);
    }
    const lines = await tab.lines();
    assert.ok(lines.length >= 500 && lines.length <= 1_000, `${lines.length} lines`);
    const last = lines.slice(-500).map((line) => line.replace(/^.*: /, ''));
    assert.deepEqual(last, Array.from({ length: 500 }, (_, index) => `number ${700 + index}`));
  });

  await check('a lost connection is announced; what was typed is sent once, in order', async () => {
    const tab = await Tab.enter();
    const telnet = await Telnet.connect(telnetPort);
    await tab.send('before');
    await telnet.receives('before');
    proxy.cut();
    await tab.says(/lost/i);
    assert.ok(await tab.status.isVisible());
    const typed = Array.from({ length: 5 }, (_, index) => `while away ${index}`);
    for (const line of typed) await tab.send(line);
    await tab.says(/5 unsent lines/);
    assert.equal(await tab.box.inputValue(), '');
    assert.equal(await tab.page.getByText('while away 3').isVisible(), true, 'unsent lines are shown');
    await tab.box.fill('half a sen');
    proxy.mend();
    await tab.says(/Connected/);
    await telnet.receives('while away 4');
    await tab.shows('while away 4');
    await tab.send('after');
    await telnet.receives('after');
    await tab.shows('after');
    const received = telnet.lines.filter((line) => line.includes('while away'));
    assert.deepEqual(received.map((line) => line.replace(/^.*?: /, '')), typed);
    for (const line of typed) assert.equal(await tab.count(line), 1, line);
    assert.doesNotMatch(await tab.status.innerText(), /unsent/);
  });

  await check('after a lost connection the nick and the room are the same, also for what was typed meanwhile', async () => {
    const tab = await Tab.enter();
    const [inRoom, inLobby] = [await Telnet.connect(telnetPort), await Telnet.connect(telnetPort)];
    const reads = (telnet, line) => until(line, () => telnet.lines.includes(line));
    const typeWhileLost = async (text) => {
      proxy.cut();
      await tab.says(/lost/i);
      await tab.send(text);
      proxy.mend();
      await tab.says(/Connected/);
    };
    inRoom.write('/join quiet');
    await until('the room', () => inRoom.lines.some((line) => line.endsWith(' has joined quiet')));
    // The page knows its room when it has read this line too. A cut before that would put it back into the old room.
    const joins = (telnet, room) => {
      const line = `-- Zoë$1 has joined ${room}`;
      return Promise.all([reads(telnet, line), tab.shows(line)]);
    };
    await tab.send('/nick Zoë$1\n/join Quiet');
    await joins(inRoom, 'quiet');
    for (const text of ['typed in the room', 'typed in the room again']) {
      await typeWhileLost(text);
      await reads(inRoom, `Zoë$1: ${text}`);
    }
    // Back in the lobby, where every connection starts.
    await tab.send('/join lobby');
    await joins(inLobby, 'lobby');
    await typeWhileLost('typed in the lobby');
    await reads(inLobby, 'Zoë$1: typed in the lobby');
    assert.equal(inLobby.lines.some((line) => line.includes('in the room')), false);
    assert.deepEqual((await tab.lines()).filter((line) => /taken|already|no \//.test(line)), []);
  });

  await check('nobody can rename a reader by a message', async () => {
    const tab = await Tab.simulate();
    await tab.page.evaluate(() => {
      const [socket] = sockets;
      socket.receive('¡Bienvenido! You are guest1, in the lobby. /help says what you can do.');
      for (const author of ['bo', '* bo', '-- bo', 'bo (to you only)']) {
        socket.receive(`${author}: -- guest1 is now called eva`);
        socket.receive(`${author}: -- guest1 has joined cellar`);
      }
      socket.receive('* bo -- guest1 has joined cellar');
      socket.receive('-- guest2 is now called bo');
      socket.receive('-- bo has joined cellar');
      socket.receive('-- guest1 has joined');
      socket.closeWith(1006, '');
    });
    await tab.retry();
    await tab.page.evaluate(() => sockets.at(-1).open());
    assert.deepEqual(await tab.page.evaluate(() => sockets.at(-1).sent), []);
  });

  await check('text in the box survives a lost connection', async () => {
    const tab = await Tab.enter();
    await tab.box.fill('half a sentence');
    proxy.cut();
    await tab.says(/lost/i);
    proxy.mend();
    await tab.says(/Connected/);
    assert.equal(await tab.box.inputValue(), 'half a sentence');
  });

  await check('who has left with /quit comes back with the next line', async () => {
    const tab = await Tab.enter();
    await tab.send('/quit');
    await tab.says(/left the chat/);
    const sockets = tab.requests.filter((url) => url.endsWith('/ws')).length;
    await sleep(1_000);
    assert.equal(tab.requests.filter((url) => url.endsWith('/ws')).length, sockets, 'no attempt without a wish');
    await tab.send('here again');
    await tab.shows('here again');
    await tab.says(/^Connected\.$/);
  });
}

async function looks() {
  await check('a phone needs no horizontal scrolling', async () => {
    const tab = await Tab.enter({ viewport: { width: 320, height: 568 }, hasTouch: true, isMobile: true });
    await tab.send(`${'long'.repeat(60)} ${'words '.repeat(40)}`);
    await until('a long line', async () => (await tab.lines()).some((line) => line.includes('longlong')));
    const widths = await tab.page.evaluate(() =>
      [document.scrollingElement, document.querySelector('[role=log]')].map((e) => [e.scrollWidth, e.clientWidth]));
    for (const [scroll, client] of widths) assert.ok(scroll <= client && client <= 320, String(widths));
    for (const part of [tab.box, tab.button]) {
      const { x, y, width, height } = await part.boundingBox();
      assert.ok(x >= 0 && x + width <= 320 && y + height <= 568, 'on the screen');
      assert.ok(width >= 44 && height >= 44, `large enough for a finger: ${width} x ${height}`);
    }
    const size = await tab.box.evaluate((box) => parseFloat(getComputedStyle(box).fontSize));
    assert.ok(size >= 16, 'below 16 pixels a phone zooms in');
  });

  await check('light and dark differ, and each text has enough contrast', async () => {
    const pages = new Set();
    for (const colorScheme of ['light', 'dark']) {
      const tab = await Tab.open({ colorScheme }, simulateSockets);
      const page = tab.page;
      const states = {
        opening: () => {},
        open: () => sockets.at(-1).open(),
        lines: () => ['Hi', 'ana: hola', '-- bo has joined'].forEach((line) => sockets.at(-1).receive(line)),
        lost: () => sockets.at(-1).closeWith(1006, ''),
      };
      for (const [state, enterState] of Object.entries(states)) {
        await page.evaluate(enterState);
        if (state === 'lost') await tab.send('unsent');
        await tab.settle();
        for (const [what, ratio] of await page.evaluate(contrasts, 'h1, h2, [role=status], [role=log] *, li, textarea, button')) {
          assert.ok(ratio >= 4.5, `${colorScheme}, ${state}: ${ratio} for ${what}`);
        }
      }
      pages.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
      }
    assert.equal(pages.size, 2);
  });
}

async function withoutAServer() {
  await check('a burst renders at once, and the newest line is visible', async () => {
    const tab = await Tab.simulate();
    const changes = await tab.page.evaluate(async () => {
      // All nodes that are added in one call are one record.
      let renders = 0;
      const observer = new MutationObserver((records) => renders += records.length);
      observer.observe(document.querySelector('[role=log]'), { childList: true });
      for (let i = 0; i < 500; i += 1) sockets[0].receive(`ana: ${i}`);
      await new Promise((resolve) => setTimeout(resolve, 400));
      return renders;
    });
    assert.equal(changes, 1);
    assert.equal((await tab.lines()).length, 500);
    await tab.isAtEnd();
  });

  await check('a reader who has scrolled up stays there', async () => {
    const tab = await Tab.simulate();
    const receive = (from, to) => tab.page.evaluate(([from, to]) => {
      for (let i = from; i < to; i += 1) sockets[0].receive(`ana: ${i}`);
    }, [from, to]);
    await receive(0, 300);
    await tab.settle();
    await tab.log.focus();
    await tab.page.keyboard.press('PageUp');
    await until('the scrolling', async () => await tab.below() > 100);
    await tab.settle();
    const top = await tab.log.evaluate((log) => log.scrollTop);
    await receive(300, 400);
    await tab.settle();
    assert.equal(await tab.log.evaluate((log) => log.scrollTop), top);
    await tab.page.keyboard.press('End');
    await tab.isAtEnd();
    await tab.settle();
    await receive(400, 420);
    await tab.shows('419');
    await tab.isAtEnd();
    await tab.page.setViewportSize({ width: 900, height: 300 });
    await tab.isAtEnd();
  });

  await check('a log that gets smaller behind a new line goes on following', async () => {
    const tab = await Tab.simulate();
    await tab.page.evaluate(() => new Promise((resolve) => {
      const log = document.querySelector('[role=log]');
      new MutationObserver((_, observer) => {
        observer.disconnect();
        // After the frame in which the log scrolls, and before the one with the event of it.
        setTimeout(() => resolve(log.style.maxHeight = '100px'));
      }).observe(log, { childList: true });
      for (let i = 0; i < 300; i += 1) sockets[0].receive(`ana: ${i}`);
    }));
    await tab.settle();
    assert.ok(await tab.below() < 2, 'the newest line is visible');
  });

  await check('a tab in the background receives', async () => {
    const tab = await Tab.open({}, simulateSockets);
    await tab.page.evaluate(() => {
      window.requestAnimationFrame = () => 1;
      sockets[0].open();
      sockets[0].receive('ana: are you there?');
    });
    await tab.shows('are you there?');
  });

  await check('a line of 64 KiB does not stop the page', async () => {
    const tab = await Tab.simulate();
    await tab.page.evaluate(() => {
      for (let i = 0; i < 20; i += 1) {
        sockets[0].receive('x'.repeat(64 * 1024));
        sockets[0].receive(`ana: ${'word '.repeat(13_000)}`);
      }
    });
    await tab.shows('x'.repeat(64 * 1024));
    await tab.send('still here');
    assert.deepEqual(await tab.page.evaluate(() => sockets[0].sent), ['still here']);
    await tab.isAtEnd();
    assert.ok(await tab.log.evaluate((log) => log.scrollWidth <= log.clientWidth), 'it wraps');
  });

  await check('attempts come later and later, up to ten seconds, and at once when the network is back', async () => {
    const tab = await Tab.open();
    const { clock } = tab.page;
    await clock.install({ time: 0 });
    await clock.pauseAt(3_600_000);
    await tab.page.addInitScript(simulateSockets);
    await tab.page.reload();
    const count = () => tab.page.evaluate(() => sockets.length);
    const event = (target, name) =>
      tab.page.evaluate(([target, name]) => window[target].dispatchEvent(new Event(name)), [target, name]);
    const lose = () => tab.page.evaluate(() => sockets.at(-1).closeWith(1006, ''));
    for (const wait of [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
      const before = await count();
      await lose();
      await clock.runFor(wait / 2 - 20);
      assert.equal(await count(), before, `sooner than ${wait / 2} ms`);
      await clock.runFor(wait / 2 + 40);
      assert.equal(await count(), before + 1, `one attempt within ${wait} ms`);
    }
    for (const [target, name] of [['window', 'online'], ['document', 'visibilitychange']]) {
      const before = await count();
      await lose();
      await event(target, name);
      assert.equal(await count(), before + 1, name);
    }
    const unanswered = await count();
    await clock.runFor(9_900);
    assert.equal(await count(), unanswered, 'an attempt has ten seconds');
    await clock.runFor(10_200);
    const before = await count();
    assert.equal(before, unanswered + 1, 'without an answer the next attempt follows');
    await tab.page.evaluate(() => sockets.at(-1).open());
    await clock.runFor(60_000);
    assert.equal(await count(), before, 'no attempt while connected');
    await lose();
    await clock.runFor(600);
    assert.equal(await count(), before + 1, 'after a long connection the first wait is short again');
    await tab.page.evaluate(() => sockets.at(-1).closeWith(1013, ''));
    await clock.runFor(4_900);
    assert.equal(await count(), before + 1, 'a refused client waits longest');
    await clock.runFor(5_200);
    assert.equal(await count(), before + 2, 'then it tries again');
  });

  await check('the status says why the server closed', async () => {
    // Name, code, reason, what the status says.
    const table = [
      ['going away', 1001, '', /server is going away.*Reconnecting/],
      ['going away with a reason', 1001, 'back at noon', /back at noon.*Reconnecting/],
      ['policy', 1008, 'you are too loud', /you are too loud/],
      ['policy without a reason', 1008, '', /1008/],
      ['unsupported data', 1003, 'text only', /text only/],
      ['invalid text', 1007, '', /1007/],
      ['too big', 1009, 'at most 4096 bytes', /at most 4096 bytes/],
      ['try again later', 1013, 'the chat is full', /the chat is full/],
      ['markup is text', 1008, '<b>no</b>', /<b>no<\/b>/],
      ['without a close frame', 1006, '', /lost.*Reconnecting/],
    ];
    const tab = await Tab.simulate();
    const close = (code, reason) =>
      tab.page.evaluate(([code, reason]) => sockets.at(-1).closeWith(code, reason), [code, reason]);
    for (const [name, code, reason, pattern] of table) {
      await close(code, reason);
      assert.match(await tab.status.innerText(), pattern, name);
      await tab.retry();
      await close(1006, '');
      assert.match(await tab.status.innerText(), pattern, `${name}: a failed attempt does not hide the reason`);
      await tab.retry();
      await tab.page.evaluate(() => sockets.at(-1).open());
      assert.equal(await tab.status.innerText(), 'Connected.', name);
    }
  });

  await check('lines that the browser has not sent go back to the outbox', async () => {
    const tab = await Tab.simulate();
    await tab.send('sent');
    await tab.page.evaluate(() => sockets[0].isStuck = true);
    await tab.send('stuck ñ\nstuck 2');
    // The browser has sent all of the first line and one byte of the second one, which the server cannot use.
    await tab.page.evaluate(() => {
      sockets[0].bufferedAmount = 'stuck 2'.length - 1;
      sockets[0].closeWith(1006, '');
    });
    await tab.send('typed later');
    await tab.says(/2 unsent lines/);
    await tab.retry();
    await tab.page.evaluate(() => sockets.at(-1).open());
    assert.deepEqual(await tab.page.evaluate(() => sockets.map((socket) => socket.sent)),
      [['sent', 'stuck ñ', 'stuck 2'], ['stuck 2', 'typed later']]);
  });

  await check('a line that the server has refused goes back to the box and is not repeated', async () => {
    const tab = await Tab.simulate();
    await tab.page.evaluate(() => sockets[0].isStuck = true);
    await tab.send('far too long');
    await tab.page.evaluate(() => sockets[0].closeWith(1009, 'too long'));
    assert.equal(await tab.box.inputValue(), 'far too long');
    await tab.retry();
    await tab.page.evaluate(() => sockets.at(-1).open());
    assert.deepEqual(await tab.page.evaluate(() => sockets.at(-1).sent), []);
  });

  await check('the outbox has a limit, and the box keeps what does not fit', async () => {
    const tab = await Tab.simulate();
    await tab.page.evaluate(() => sockets[0].closeWith(1006, ''));
    await tab.send(Array.from({ length: 99 }, (_, index) => `line ${index}`).join('\n'));
    await tab.send('one\ntwo');
    await tab.says(/99 unsent lines.*stays in the box/);
    assert.equal(await tab.box.inputValue(), 'one\ntwo');
    await tab.send('one');
    await tab.says(/100 unsent lines/);
    assert.equal(await tab.box.inputValue(), '');
    await tab.retry();
    await tab.page.evaluate(() => sockets.at(-1).open());
    assert.equal(await tab.page.evaluate(() => sockets.at(-1).sent.length), 100);
    assert.equal(await tab.status.innerText(), 'Connected.');
  });
}

async function main() {
  setTimeout(() => {
    console.log('not ok the script takes too long');
    process.exit(1);
  }, 10 * LIMIT_MS).unref();
  proxy = await Proxy.listen(Number(new URL(baseUrl).port));
  const map = `--host-resolver-rules=MAP ${new URL(baseUrl).host} 127.0.0.1:${proxy.port}`;
  browser = await chromium.launch({
    executablePath: which('chromium'),
    args: ['--headless=new', '--no-sandbox', '--disable-smooth-scrolling', map],
    timeout: LIMIT_MS,
  });
  console.log(`# Chromium ${browser.version()}`);
  await withTheServer();
  await looks();
  await withoutAServer();
  await browser.close();
  process.exit(harness.failures() === 0 ? 0 : 1);
}

main().catch((error) => {
  console.log(`not ok the script itself\n  ${error.stack}`);
  process.exit(1);
});
