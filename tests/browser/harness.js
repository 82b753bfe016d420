'use strict';
// The helpers of the browser tests: checks that print one line each, a telnet client, and a TCP proxy that can cut.

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

/** How long a check waits for something that must come. Only a failing check waits this long. */
const LIMIT_MS = 60_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Calls `look` until its answer is true. */
async function until(what, look) {
  for (const end = Date.now() + LIMIT_MS; ;) {
    if (await look()) return;
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
    await sleep(15);
  }
}

/** The path of a program, as a shell finds it. */
function which(program) {
  const folders = process.env.PATH.split(path.delimiter);
  const found = folders.map((folder) => path.join(folder, program)).find((file) => fs.existsSync(file));
  if (found === undefined) throw new Error(`${program} is not in PATH`);
  return found;
}

let failed = 0;

/** Runs one check, then `cleanUp`, and prints the check's line. A failed check does not stop the others. */
async function check(name, body, cleanUp) {
  try {
    try {
      await body();
    } finally {
      await cleanUp();
    }
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${name}\n  ${String(error.stack).replaceAll('\n', '\n  ')}`);
  }
}

const failures = () => failed;

/** A telnet client that agrees to no option: a TCP socket and the lines that it has received. */
class Telnet {
  static clients = [];

  static async connect(port) {
    const client = new Telnet();
    Telnet.clients.push(client);
    client.lines = [];
    let rest = '';
    client.socket = net.connect(port, '127.0.0.1');
    client.socket.on('error', () => {});
    // A server that offers options sends bytes that are no UTF-8. They come before the greeting.
    client.socket.setEncoding('utf8').on('data', (text) => {
      const pieces = (rest + text).split('\r\n');
      rest = pieces.pop();
      client.lines.push(...pieces);
    });
    await until('the greeting of a telnet client', () => client.lines.some((line) => line.includes('You are')));
    return client;
  }

  write(line) {
    this.socket.write(`${line}\r\n`);
  }

  /** How many times this line was received from anyone. */
  count(text) {
    return this.lines.filter((line) => line.endsWith(`: ${text}`)).length;
  }

  receives(text) {
    return until(`${text} at the telnet client`, () => this.count(text) > 0);
  }

  end() {
    this.socket.end();
  }

  static endAll() {
    Telnet.clients.splice(0).forEach((client) => client.end());
  }
}

/** A TCP proxy in front of a port. It can reset its connections and refuse new ones. */
class Proxy {
  static async listen(target) {
    const proxy = new Proxy();
    proxy.pairs = new Set();
    proxy.isRefusing = false;
    proxy.server = net.createServer((client) => {
      client.on('error', () => {});
      if (proxy.isRefusing) return client.resetAndDestroy();
      const upstream = net.connect(target, '127.0.0.1');
      const pair = [client, upstream];
      proxy.pairs.add(pair);
      for (const [from, to] of [pair, [upstream, client]]) {
        from.on('error', () => {}).on('close', () => {
          to.destroy();
          proxy.pairs.delete(pair);
        });
        from.pipe(to);
      }
    });
    await new Promise((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  cut() {
    this.isRefusing = true;
    for (const pair of this.pairs) pair.forEach((socket) => socket.resetAndDestroy());
  }

  mend() {
    this.isRefusing = false;
  }
}

/** The contrast of each text with its background (WCAG 2, "contrast ratio"): [what, ratio]. Runs in the page. */
function contrasts(selector) {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = channels(colour).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const background = (element) => {
    for (; element !== null; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const elements = document.querySelectorAll(selector);
  const ratio = (element, part) => {
    const colours = [getComputedStyle(element, part).color, background(element)];
    const [lighter, darker] = colours.map(luminance).sort((a, b) => b - a);
    return [element.outerHTML + (part ?? ''), (lighter + 0.05) / (darker + 0.05)];
  };
  const visible = [...elements].filter((element) => element.checkVisibility());
  const boxes = visible.filter((element) => element.matches('textarea, input'));
  return [...visible.map((element) => ratio(element)), ...boxes.map((box) => ratio(box, '::placeholder'))];
}

module.exports = { LIMIT_MS, Proxy, Telnet, check, contrasts, failures, sleep, until, which };
