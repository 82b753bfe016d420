// Runs the program of a question file in Node. Prints the lines that it prints.
//
//   node tests/quiz/question_file.js lesson.txt             runs the program of the first question
//   node tests/quiz/question_file.js lesson.txt --source    prints it in JavaScript
'use strict';
const fs = require('fs');
const net = require('net');

const prose = ['title', 'hint', 'lesson'];
const isProgram = (line) => line.trim() && !line.trim().startsWith('#') && !prose.includes(line.trim().split(/\s+/)[0]);
const lines = fs.readFileSync(process.argv[2], 'utf8').split('\n').filter(isProgram);
const indentOf = (line) => line.length - line.trimStart().length;

// The statements that are indented by `indent`: [word, rest, block].
const block = (indent) => {
  const statements = [];
  while (lines.length && indentOf(lines[0]) >= indent) {
    const [word, ...rest] = lines.shift().trim().split(/\s+/);
    const below = lines.length ? indentOf(lines[0]) : 0;
    statements.push([word, rest.join(' '), below > indent ? block(below) : []]);
  }
  return statements;
};

// JavaScript of a block. `socket` is the name of the socket of the event.
const source = (statements, socket) => statements.map((statement) => translate(statement, socket)).join('\n');
const translate = ([word, rest, block], socket) => {
  const later = (statements) => `() => {\n${source(statements, socket)}\n}`;
  const text = JSON.stringify(rest);
  switch (word) {
    case 'print': return `console.log(${text});`;
    case 'work': return `work(${rest});`;
    case 'tick': return `process.nextTick(${later(block)});`;
    case 'microtask': return `queueMicrotask(${later(block)});`;
    case 'immediate': return `setImmediate(${later(block)});`;
    case 'timeout': return `setTimeout(${later(block)}, ${rest});`;
    case 'write': return `${socket}.write(${[text, ...(block.length ? [later(block)] : [])].join(', ')});`;
    case 'end': return `${socket}.end(${[...(rest ? [text] : []), ...(block.length ? [later(block)] : [])].join(', ')});`;
    case 'destroy': return `${socket}.destroy();`;
    case 'server': return `const server = net.createServer((socket) => {\n${events(block)}\n}).listen(0).unref();`;
    case 'connect':
      return `{\nconst socket = net.connect(server.address().port, '127.0.0.1');\n${events(block)}\n}`;
    default: throw new Error(`there is no ${word}`);
  }
};
// The block of `connection` runs when the listeners are there.
const events = (blocks) => {
  const listen = ([, name, block]) => `socket.on('${name}', () => {\n${source(block, 'socket')}\n});`;
  const isAccept = ([, name]) => name === 'connection';
  const accept = blocks.filter(isAccept).map(([, , block]) => source(block, 'socket'));
  return [...blocks.filter((block) => !isAccept(block)).map(listen), ...accept].join('\n');
};

const work = (ms) => {
  const end = process.hrtime.bigint() + BigInt(ms) * 1000000n;
  while (process.hrtime.bigint() < end);
};
const program = source(block(0));
if (process.argv[3] === '--source') console.log(program);
else new Function('net', 'work', program)(net, work);
