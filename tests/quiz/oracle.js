// What Node says to the questions of `bucle quiz`: the same programs, in JavaScript. Prints the table `NODE` of tests/quiz.rs.
//
//   node tests/quiz/oracle.js        all questions, each in a process of its own, ten times
//   node tests/quiz/oracle.js 13     one question, once
//
// Time is real here: on a machine that is very busy the timers of 5 and 17 may come out in another order.
'use strict';
const net = require('net');
const { execFileSync } = require('child_process');

const order = [];
const say = (text) => order.push(text);
const holdUp = (ms) => {
  const end = process.hrtime.bigint() + BigInt(ms) * 1000000n;
  while (process.hrtime.bigint() < end);
};
// The server of the quiz is bound when the program goes on; so this one calls the rest of the program when it is.
const serve = (onConnection, then) => {
  const server = net.createServer(onConnection);
  server.listen(0, '127.0.0.1', () => {
    server.unref();
    setImmediate(() => then(() => net.connect(server.address().port, '127.0.0.1')));
  });
  return server;
};
const ignore = (socket) => socket.resume();

const programs = {
  1() {
    queueMicrotask(() => say('microtask'));
    say('main');
    process.nextTick(() => say('tick'));
  },
  2() {
    process.nextTick(() => {
      say('first tick');
      process.nextTick(() => say('nested tick'));
    });
    queueMicrotask(() => say('microtask'));
    process.nextTick(() => say('second tick'));
  },
  3() {
    queueMicrotask(() => {
      say('first');
      process.nextTick(() => say('tick'));
      queueMicrotask(() => say('third'));
    });
    queueMicrotask(() => say('second'));
  },
  4() {
    setImmediate(() => {
      say('first');
      setImmediate(() => say('nested'));
      process.nextTick(() => say('tick'));
    });
    setImmediate(() => say('second'));
  },
  5() {
    setTimeout(() => say('ten'), 10);
    setTimeout(() => say('five'), 5);
    setTimeout(() => say('ten again'), 10);
    setTimeout(() => say('one'), 1);
    setTimeout(() => say('zero'), 0);
    holdUp(20);
  },
  6() {
    setTimeout(() => {
      say('first');
      queueMicrotask(() => say('microtask'));
      process.nextTick(() => say('tick'));
    }, 1);
    setTimeout(() => say('second'), 1);
    holdUp(5);
  },
  7() {
    setImmediate(() => say('immediate'));
    setTimeout(() => say('timeout'), 1);
    holdUp(5);
    say('main');
    process.nextTick(() => say('tick'));
  },
  8() {
    setImmediate(() => say('immediate'));
    setTimeout(() => say('timeout'), 0);
    holdUp(Math.floor(Math.random() * 2));
  },
  9() {
    setTimeout(() => {
      say('first');
      setTimeout(() => say('nested'), 1);
      setImmediate(() => say('immediate'));
      holdUp(5);
    }, 1);
    setTimeout(() => say('second'), 2);
    holdUp(5);
  },
  10() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('connect', () => {
        setImmediate(() => say('immediate'));
        setTimeout(() => say('timeout'), 1);
        say('connect');
        holdUp(5);
        process.nextTick(() => say('tick'));
        socket.destroy();
      });
    });
  },
  11() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('close', () => say('close'));
      socket.on('connect', () => {
        socket.destroy();
        setImmediate(() => say('immediate'));
        say('destroyed');
        process.nextTick(() => say('tick'));
      });
    });
  },
  12() {
    serve((socket) => socket.end('hola'), (connect) => {
      const socket = connect();
      socket.on('data', () => {
        say('data');
        setImmediate(() => say('immediate'));
        process.nextTick(() => say('tick'));
      });
      socket.on('end', () => say('end'));
      socket.on('close', () => say('close'));
    });
  },
  13() {
    serve(ignore, (connect) => {
      const [first, second, third] = [connect(), connect(), connect()];
      first.on('close', () => {
        say('first');
        process.nextTick(() => say('tick of the first'));
      });
      second.on('close', () => say('second'));
      third.on('close', () => {
        say('third');
        process.nextTick(() => say('tick of the third'));
      });
      setImmediate(() => [first, second, third].forEach((socket) => socket.destroy()));
    });
  },
  14() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('connect', () => {
        setImmediate(() => say('immediate'));
        process.nextTick(() => say('tick before'));
        socket.destroy(new Error('enough'));
        process.nextTick(() => say('tick after'));
      });
      socket.on('close', () => say('close'));
      socket.on('error', () => say('error'));
    });
  },
  15() {
    serve(ignore, (connect) => {
      const socket = connect().resume();
      socket.on('close', () => say('close'));
      socket.on('connect', () => {
        socket.end(() => say('callback'));
        process.nextTick(() => say('tick'));
      });
      socket.on('end', () => say('end'));
      socket.on('finish', () => say('finish'));
    });
  },
  16() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('connect', () => {
        queueMicrotask(() => say('microtask'));
        process.nextTick(() => say('tick before'));
        socket.write('hola', () => say('written'));
        process.nextTick(() => say('tick after'));
        say('connect');
        setImmediate(() => socket.destroy());
      });
    });
  },
  17() {
    setTimeout(() => say('ten'), 10);
    setTimeout(() => say('twenty'), 20);
    holdUp(15);
    setTimeout(() => say('another ten'), 10);
    holdUp(15);
  },
  18() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('connect', () => {
        socket.write(Buffer.alloc(16 * 1024 * 1024), () => say('much'));
        socket.write('hola', () => {
          say('little');
          socket.destroy();
        });
        process.nextTick(() => say('tick'));
      });
      socket.on('drain', () => say('drain'));
    });
  },
  19() {
    const server = serve((socket) => {
      socket.on('close', () => say('socket'));
      setImmediate(() => say('immediate'));
      server.close();
      process.nextTick(() => say('tick before'));
      socket.destroy();
      process.nextTick(() => say('tick after'));
    }, (connect) => connect().resume());
    server.on('close', () => say('server'));
  },
  20() {
    serve((socket) => socket.end('hola'), (connect) => {
      const socket = connect();
      socket.on('data', () => {
        socket.destroy();
        say('data');
        setTimeout(() => say('timeout'), 1);
        setImmediate(() => {
          say('immediate');
          setImmediate(() => say('nested'));
          process.nextTick(() => say('late tick'));
        });
        queueMicrotask(() => say('microtask'));
        process.nextTick(() => say('tick'));
        holdUp(5);
      });
      socket.on('close', () => say('close'));
    });
  },
};

const number = process.argv[2];
if (number) {
  process.on('exit', () => console.log(`(${number}, &${JSON.stringify(order).replaceAll(',', ', ')}),`));
  programs[number]();
} else {
  for (const number of Object.keys(programs)) {
    const runs = Array.from({ length: 10 }, () => execFileSync(process.execPath, [__filename, number], { encoding: 'utf8' }));
    process.stdout.write([...new Set(runs)].join(''));
  }
}
