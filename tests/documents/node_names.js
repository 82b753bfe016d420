'use strict';
// Which words of a list appear nowhere in the sources of Node, nor in those of some packages of npm.
//
//   node node_names.js '["setNoDelay", …]' [PACKAGE_FOLDER…]        prints the missing words, one in a line
//
// Node's own modules are part of its program: `process.binding('natives')` is their text.

const fs = require('node:fs');
const path = require('node:path');

const [words, ...folders] = process.argv.slice(2);
process.removeAllListeners('warning');
// A distribution may keep a module in a file of its own, and then its text is not here.
const sources = Object.values(process.binding('natives')).filter((source) => typeof source === 'string');
for (const folder of folders) {
  const files = fs.readdirSync(folder, { recursive: true });
  const scripts = files.filter((file) => /\.(js|ts)$/.test(file) && !file.includes('node_modules'));
  sources.push(...scripts.map((file) => fs.readFileSync(path.join(folder, file), 'utf8')));
}
const known = new Set();
for (const source of sources) for (const [word] of source.matchAll(/[A-Za-z_]\w*/g)) known.add(word);
for (const word of JSON.parse(words)) if (!known.has(word)) console.log(word);
