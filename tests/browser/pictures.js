'use strict';
// The picture of the chat for the README: a telnet client in a terminal beside the page in a browser.
//
//   bucle serve chat --http 0 --port 0        prints the port and the URL
//   node pictures.js BASE_URL TELNET_PORT FILE
//
// The pictures of the live page are made by inspect.js.

const { spawn } = require('node:child_process');
const { chromium } = require('playwright-core');
const { LIMIT_MS, until, which } = require('./harness');

const [baseUrl, telnetPort, file] = process.argv.slice(2);
const SIZE = { width: 640, height: 440 };

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

async function main() {
  setTimeout(() => {
    console.log('the script takes too long');
    process.exit(1);
  }, 2 * LIMIT_MS).unref();
  const browser = await chromium.launch({ executablePath: which('chromium'), args: ['--headless=new', '--no-sandbox'] });
  const page = await browser.newPage({ viewport: SIZE, locale: 'en-US' });
  await page.goto(baseUrl);
  const log = page.getByRole('log');
  const says = (text) => log.filter({ hasText: text }).waitFor();
  const write = async (text) => {
    await page.getByRole('textbox').fill(text);
    await page.keyboard.press('Enter');
  };
  await says('You are');
  await write('/nick luis');
  await says('now called luis');

  const terminal = new Terminal();
  await terminal.shows('You are');
  await terminal.type('/nick ana', 'is now called ana');
  await write('hola, ana');
  await terminal.shows('luis: hola, ana');
  await terminal.type('hola, luis. I am here by telnet', 'ana: hola, luis. I am here by telnet');
  await says('I am here by telnet');
  await write('and I by browser: one room, two doors');
  await terminal.shows('two doors');
  await terminal.type('/who', 'in lobby');
  await page.mouse.move(0, 0);
  const shot = (await page.screenshot()).toString('base64');

  const both = await browser.newPage({ viewport: { width: 2 * SIZE.width, height: SIZE.height } });
  await both.setContent(`<style>
    body { margin: 0; display: flex; background: #fff }
    pre { box-sizing: border-box; width: ${SIZE.width}px; height: ${SIZE.height}px; margin: 0; padding: 16px;
      background: #1b1f24; color: #e6edf3; font: 14px/1.45 "DejaVu Sans Mono", monospace; white-space: pre-wrap }
    img { width: ${SIZE.width}px; height: ${SIZE.height}px }
  </style><pre></pre><img src="data:image/png;base64,${shot}">`);
  await both.locator('pre').evaluate((pre, text) => { pre.textContent = text; }, terminal.text());
  await both.screenshot({ path: file });
  terminal.child.kill();
  await browser.close();
}

main().catch((error) => {
  console.log(error.stack);
  process.exit(1);
});
