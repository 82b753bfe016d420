'use strict';
// The two pictures of the README.
//
//   bucle serve chat --http 0 --inspect 0 --port 0        prints TELNET_PORT, BASE_URL and INSPECT_URL
//   node pictures.js BASE_URL TELNET_PORT INSPECT_URL FOLDER
//
// chat.png: a telnet client in a terminal above the page in a browser. live-page.png: the live page of a paused loop.
// inspect.js makes screenshots of all screens of the live page.

const { spawn } = require('node:child_process');
const net = require('node:net');
const path = require('node:path');
const { chromium } = require('playwright-core');
const { LIMIT_MS, sleep, until, which } = require('./harness');

const [baseUrl, telnetPort, inspectUrl, folder] = process.argv.slice(2);
const TERMINAL = { width: 640, height: 284 };
const PAGE = { width: 640, height: 316 };
/** The chat is enlarged, so that both pictures are of one size. */
const SCALE = 1.25;
const LIVE_PAGE = { width: 800, height: 750 };

/** A telnet client in a terminal, which `script` provides; and what the terminal shows. */
class Terminal {
  constructor() {
    this.shown = '';
    const command = `stty cols 78; telnet localhost ${telnetPort}`;
    this.child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] });
    this.child.stdout.setEncoding('utf8').on('data', (text) => { this.shown += text.replaceAll('\r', ''); });
  }

  shows(text) {
    return until(`${text} in the terminal`, () => this.shown.includes(text));
  }

  async type(line, answer) {
    this.child.stdin.write(`${line}\n`);
    await this.shows(answer);
  }

  /** As on the screen of the reader, who has a server on its usual port. */
  text() {
    return `$ telnet localhost 8080\n${this.shown}`;
  }
}

async function chat(browser) {
  const page = await browser.newPage({ viewport: PAGE, deviceScaleFactor: SCALE, locale: 'en-US' });
  await page.goto(baseUrl);
  const log = page.getByRole('log');
  const shows = (text) => log.filter({ hasText: text }).waitFor();
  const write = async (text) => {
    await page.getByRole('textbox').fill(text);
    await page.keyboard.press('Enter');
  };
  await shows('You are');
  await write('/nick luis');
  await shows('now called luis');

  const terminal = new Terminal();
  await terminal.shows('You are');
  await terminal.type('/nick ana', 'is now called ana');
  await write('hola, ana');
  await terminal.shows('luis: hola, ana');
  await terminal.type('hola, luis. I am here by telnet', 'ana: hola, luis. I am here by telnet');
  await shows('I am here by telnet');
  await write('and I by browser: one room, two doors');
  await terminal.shows('two doors');
  await terminal.type('/who', 'in lobby');
  const shot = (await page.screenshot()).toString('base64');

  const viewport = { width: PAGE.width, height: TERMINAL.height + PAGE.height };
  const both = await browser.newPage({ viewport, deviceScaleFactor: SCALE });
  await both.setContent(`<style>
    body { margin: 0; background: #fff }
    pre { box-sizing: border-box; height: ${TERMINAL.height}px; margin: 0; padding: 12px 16px;
      background: #1b1f24; color: #e6edf3; font: 14px/20px "DejaVu Sans Mono", monospace; white-space: pre-wrap }
    img { display: block; width: ${PAGE.width}px }
  </style><pre></pre><img src="data:image/png;base64,${shot}">`);
  await both.locator('pre').evaluate((pre, text) => { pre.textContent = text; }, terminal.text());
  await both.screenshot({ path: path.join(folder, 'chat.png') });
  terminal.child.kill();
  await page.close();
}

async function livePage(browser) {
  const page = await browser.newPage({ viewport: LIVE_PAGE, locale: 'en-US' });
  await page.goto(inspectUrl);
  const peers = Array.from({ length: 12 }, () => net.connect(telnetPort, '127.0.0.1').resume().on('error', () => {}));
  const traffic = setInterval(() => peers.forEach((peer) => peer.write('hola\n'.repeat(1 + Math.random() * 3))), 7);
  await sleep(2500); // The picture shows the last second.
  await page.keyboard.press('Space');
  await page.getByText('paused', { exact: true }).first().waitFor();
  for (let step = 0; step < 5; step += 1) {
    await page.keyboard.press('n');
    await sleep(200);
  }
  await page.screenshot({ path: path.join(folder, 'live-page.png') });
  clearInterval(traffic);
  await page.keyboard.press('Space');
  peers.forEach((peer) => peer.destroy());
}

async function main() {
  setTimeout(() => {
    console.log('the script takes too long');
    process.exit(1);
  }, 2 * LIMIT_MS).unref();
  const browser = await chromium.launch({ executablePath: which('chromium'), args: ['--headless=new', '--no-sandbox'] });
  await chat(browser);
  await livePage(browser);
  await browser.close();
}

main().catch((error) => {
  console.log(error.stack);
  process.exit(1);
});
