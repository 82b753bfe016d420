// The programs of `bucle quiz` in JavaScript. Node runs them, and this prints the table `NODE` of tests/quiz.rs.
//
//   node tests/quiz/oracle.js        all questions, each in a process of its own, ten times
//   node tests/quiz/oracle.js 13     one question, once
//
// The time is real: on a very busy machine the timers of 5 and 17 may run in another order.
'use strict';
const net = require('net');
const { execFileSync } = require('child_process');

const order = [];
const print = (text) => order.push(text);
const workFor = (ms) => {
  const end = process.hrtime.bigint() + BigInt(ms) * 1000000n;
  while (process.hrtime.bigint() < end);
};
// In the quiz the server listens when `serve` returns. Here it listens later, so the rest of the program is a callback.
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
    queueMicrotask(() => print('microtask'));
    print('main');
    process.nextTick(() => print('tick'));
  },
  2() {
    process.nextTick(() => {
      print('first tick');
      process.nextTick(() => print('nested tick'));
    });
    queueMicrotask(() => print('microtask'));
    process.nextTick(() => print('second tick'));
  },
  3() {
    queueMicrotask(() => {
      print('first');
      process.nextTick(() => print('tick'));
      queueMicrotask(() => print('third'));
    });
    queueMicrotask(() => print('second'));
  },
  4() {
    setImmediate(() => {
      print('first');
      setImmediate(() => print('nested'));
      process.nextTick(() => print('tick'));
    });
    setImmediate(() => print('second'));
  },
  5() {
    setTimeout(() => print('ten'), 10);
    setTimeout(() => print('five'), 5);
    setTimeout(() => print('ten again'), 10);
    setTimeout(() => print('one'), 1);
    setTimeout(() => print('zero'), 0);
    workFor(20);
  },
  6() {
    setTimeout(() => {
      print('first');
      queueMicrotask(() => print('microtask'));
      process.nextTick(() => print('tick'));
    }, 1);
    setTimeout(() => print('second'), 1);
    workFor(5);
  },
  7() {
    setImmediate(() => print('immediate'));
    setTimeout(() => print('timeout'), 1);
    workFor(5);
    print('main');
    process.nextTick(() => print('tick'));
  },
  8() {
    setImmediate(() => print('immediate'));
    setTimeout(() => print('timeout'), 0);
    workFor(Math.floor(Math.random() * 2));
  },
  9() {
    setTimeout(() => {
      print('first');
      setTimeout(() => print('nested'), 1);
      setImmediate(() => print('immediate'));
      workFor(5);
    }, 1);
    setTimeout(() => print('second'), 2);
    workFor(5);
  },
  10() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('connect', () => {
        setImmediate(() => print('immediate'));
        setTimeout(() => print('timeout'), 1);
        print('connect');
        workFor(5);
        process.nextTick(() => print('tick'));
        socket.destroy();
      });
    });
  },
  11() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('close', () => print('close'));
      socket.on('connect', () => {
        socket.destroy();
        setImmediate(() => print('immediate'));
        print('destroyed');
        process.nextTick(() => print('tick'));
      });
    });
  },
  12() {
    serve((socket) => socket.end('hola'), (connect) => {
      const socket = connect();
      socket.on('data', () => {
        print('data');
        setImmediate(() => print('immediate'));
        process.nextTick(() => print('tick'));
      });
      socket.on('end', () => print('end'));
      socket.on('close', () => print('close'));
    });
  },
  13() {
    serve(ignore, (connect) => {
      const [first, second, third] = [connect(), connect(), connect()];
      first.on('close', () => {
        print('first');
        process.nextTick(() => print('tick of the first'));
      });
      second.on('close', () => print('second'));
      third.on('close', () => {
        print('third');
        process.nextTick(() => print('tick of the third'));
      });
      setImmediate(() => [first, second, third].forEach((socket) => socket.destroy()));
    });
  },
  14() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('connect', () => {
        setImmediate(() => print('immediate'));
        process.nextTick(() => print('tick before'));
        socket.destroy(new Error('enough'));
        process.nextTick(() => print('tick after'));
      });
      socket.on('close', () => print('close'));
      socket.on('error', () => print('error'));
    });
  },
  15() {
    serve(ignore, (connect) => {
      const socket = connect().resume();
      socket.on('close', () => print('close'));
      socket.on('connect', () => {
        socket.end(() => print('callback'));
        process.nextTick(() => print('tick'));
      });
      socket.on('end', () => print('end'));
      socket.on('finish', () => print('finish'));
    });
  },
  16() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('connect', () => {
        queueMicrotask(() => print('microtask'));
        process.nextTick(() => print('tick before'));
        socket.write('hola', () => print('written'));
        process.nextTick(() => print('tick after'));
        print('connect');
        setImmediate(() => socket.destroy());
      });
    });
  },
  17() {
    setTimeout(() => print('ten'), 10);
    setTimeout(() => print('twenty'), 20);
    workFor(15);
    setTimeout(() => print('another ten'), 10);
    workFor(15);
  },
  18() {
    serve(ignore, (connect) => {
      const socket = connect();
      socket.on('connect', () => {
        socket.write(Buffer.alloc(16 * 1024 * 1024), () => print('much'));
        socket.write('hola', () => {
          print('little');
          socket.destroy();
        });
        process.nextTick(() => print('tick'));
      });
      socket.on('drain', () => print('drain'));
    });
  },
  19() {
    const server = serve((socket) => {
      socket.on('close', () => print('socket'));
      setImmediate(() => print('immediate'));
      server.close();
      process.nextTick(() => print('tick before'));
      socket.destroy();
      process.nextTick(() => print('tick after'));
    }, (connect) => connect().resume());
    server.on('close', () => print('server'));
  },
  20() {
    serve((socket) => socket.end('hola'), (connect) => {
      const socket = connect();
      socket.on('data', () => {
        socket.destroy();
        print('data');
        setTimeout(() => print('timeout'), 1);
        setImmediate(() => {
          print('immediate');
          setImmediate(() => print('nested'));
          process.nextTick(() => print('late tick'));
        });
        queueMicrotask(() => print('microtask'));
        process.nextTick(() => print('tick'));
        workFor(5);
      });
      socket.on('close', () => print('close'));
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
