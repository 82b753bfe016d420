'use strict';
// The page of the example `chat` in a real browser.
//
//   node socketio_chat.js PORT
//
// The example must be listening on the port. Prints a line for every check, and exits with 1 if one failed.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');
const harness = require('./harness');

const { LIMIT_MS, Proxy, check, until } = harness;
const [port] = process.argv.slice(2);

let browser;
let proxy;
const pages = [];

/** The path of a program, as a shell finds it. */
function which(program) {
  const folders = process.env.PATH.split(path.delimiter);
  const found = folders.map((folder) => path.join(folder, program)).find((file) => fs.existsSync(file));
  if (found === undefined) throw new Error(`${program} is not in PATH`);
  return found;
}

/** Opens the page in a window, and waits for the greeting. */
async function enter() {
  const page = await browser.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(String(error)));
  await page.goto(`http://127.0.0.1:${proxy.port}/`);
  pages.push(page);
  await shows(page, 'Welcome');
  return page;
}

const messages = (page) => page.$$eval('#messages > li', (items) => items.map((item) => item.textContent));

const shows = (page, text) => until(`${text} in the page`, async () => (await messages(page)).includes(text));

async function send(page, text) {
  await page.fill('#m', text);
  await page.press('#m', 'Enter');
  assert.equal(await page.inputValue('#m'), '');
}

async function closePages() {
  proxy.mend();
  const problems = pages.flatMap((page) => page.problems);
  for (const page of pages.splice(0)) await page.close();
  assert.deepEqual(problems, []);
}

async function main() {
  setTimeout(() => {
    console.log('not ok the script takes too long');
    process.exit(1);
  }, 2 * LIMIT_MS).unref();
  proxy = await Proxy.listen(Number(port));
  browser = await chromium.launch({
    executablePath: which('chromium'),
    args: ['--headless=new', '--no-sandbox'],
    timeout: LIMIT_MS,
  });

  await check('a message is answered, and shown as text', async () => {
    const page = await enter();
    await send(page, '<b>hola</b> ñandú 🎈');
    await shows(page, 'server: <b>hola</b> ñandú 🎈');
    assert.deepEqual(await messages(page), ['Welcome', 'server: <b>hola</b> ñandú 🎈']);
  }, closePages);

  await check('a message for everybody is shown in all windows', async () => {
    const [one, other] = [await enter(), await enter()];
    await send(one, 'everybody');
    for (const page of [one, other]) {
      await until('the announcement', async () => (await messages(page)).some((text) => /^\S+: everybody$/.test(text)));
    }
    await send(other, 'only me');
    await shows(other, 'server: only me');
    assert.equal((await messages(one)).length, 2);
  }, closePages);

  await check('a lost connection is opened again, and what was typed meanwhile is sent', async () => {
    const page = await enter();
    // `socket` is a constant of the page's script.
    assert.equal(await page.evaluate('socket.connected && typeof socket.id'), 'string');
    proxy.cut();
    await until('the loss', () => page.evaluate('!socket.connected && socket.id === undefined'));
    await send(page, 'offline');
    proxy.mend();
    await shows(page, 'server: offline');
    assert.deepEqual((await messages(page)).filter((text) => text !== 'Welcome'), ['server: offline']);
    assert.equal(await page.evaluate('socket.connected && typeof socket.id'), 'string');
  }, closePages);

  await browser.close();
  process.exit(harness.failures() === 0 ? 0 : 1);
}

main().catch((error) => {
  console.log(`not ok the script itself\n  ${error.stack}`);
  process.exit(1);
});
