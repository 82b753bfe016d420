"""Differential fuzzer: random scenarios on Node (../conformance/oracle.js) and on a runner.

    python3 fuzz.py --runner PATH/TO/conformance --from 1 --count 500 [--family loop] [--jobs 3] [--work DIR]

Each seed: runner and Node in turns, Node three times, the runner twice. A scenario counts only if Node said the same
three times. What differs is written to WORK/diff/SEED.json with all traces; one line per seed goes to WORK/log.jsonl.
At the end each difference that is new is tried twice more with nothing else running, and then with longer pauses. With
--check, one that comes again each time makes the exit status 1.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

from gen import generate

HERE = pathlib.Path(__file__).resolve().parent
ORACLE = HERE.parent / "conformance" / "oracle.js"


class Runs:
    """How to run a scenario: on Node and on the other one."""

    def __init__(self, runner, oracle=ORACLE, node="node", limit=8.0, jitter=""):
        self.runner, self.oracle, self.node, self.limit, self.jitter = str(runner), str(oracle), node, limit, jitter

    def run(self, cmd, path, jitter="", **more):
        env = dict(os.environ, JITTER=str(jitter or ""), TMPDIR=os.path.dirname(path), **more)
        try:
            p = subprocess.run(cmd + [path], stdin=subprocess.DEVNULL, capture_output=True, timeout=self.limit, env=env)
        except subprocess.TimeoutExpired:
            return "!! hang\n"
        if p.returncode != 0:
            return f"!! exit {p.returncode} {p.stderr.decode(errors='replace')[:600]}\n"
        return p.stdout.decode(errors="replace")

    def on_node(self, path, jitter=""):
        return self.run([self.node, self.oracle], path, jitter)

    def on_runner(self, path, jitter="", **more):
        return self.run([self.runner], path, jitter, **more)

    def received(self, scenario, on_node):
        """All bytes that each socket receives in a run."""
        with tempfile.TemporaryDirectory(prefix="dfr") as folder:
            path, patched, dump = saved(scenario, folder), os.path.join(folder, "oracle.js"), os.path.join(folder, "dump")
            with open(self.oracle) as f, open(patched, "w") as g:
                g.write(replaced(f.read(), DATA, DUMP + DATA))
            open(dump, "w").close()
            env = dict(os.environ, RECEIVED=dump, TMPDIR=folder)
            try:
                p = subprocess.run(([self.node, patched] if on_node else [self.runner]) + [path], stdin=subprocess.DEVNULL,
                                   capture_output=True, timeout=3 * self.limit, env=env)
            except subprocess.TimeoutExpired:
                return {}
            with open(dump) as f:
                text = f.read() + p.stderr.decode(errors="replace")
        chunks = collections.defaultdict(list)
        for name, chunk in re.findall(r"^RECEIVED (\S+) ([0-9a-f]*)$", text, re.M):
            chunks[name].append(bytes.fromhex(chunk))
        return {name: b"".join(of) for name, of in chunks.items()}

    def receive_the_same(self, scenario):
        """Whether each socket receives the same bytes on both, apart from where they end."""
        x, y = self.received(scenario, True), self.received(scenario, False)
        for name in x.keys() & y.keys():
            short, long = sorted((x[name], y[name]), key=len)
            # Text that ends inside a character ends in U+FFFD.
            if not long.startswith(short) and not long.startswith(short.removesuffix("\ufffd".encode())):
                return False
        return bool(x.keys() & y.keys())

    def sending_each_write(self, scenario):
        """What the runner prints if it makes one system call per write, as Node does."""
        with tempfile.TemporaryDirectory(prefix="dfe") as folder:
            return self.on_runner(saved(scenario, folder), EACH_WRITE="1")


# Put in front of the oracle's handling of received data.
DUMP = """  fs.appendFileSync(process.env.RECEIVED, `RECEIVED ${obj} ${Buffer.from(chunk).toString('hex')}\\n`);
"""
DATA = "  if (LIVE) fs.writeSync(2, `${obj} ${kind} chunk ${chunk.length}"


def replaced(text, old, new):
    assert old in text
    return text.replace(old, new)


def saved(scenario, folder):
    path = os.path.join(folder, "s.json")
    with open(path, "w") as f:
        json.dump(scenario, f, ensure_ascii=False)
    return path


def first_diff(a, b):
    x, y = a.split("\n"), b.split("\n")
    for i in range(max(len(x), len(y))):
        u = x[i] if i < len(x) else "<nothing>"
        v = y[i] if i < len(y) else "<nothing>"
        if u != v:
            return i + 1, u, v
    return 0, "", ""


def norm(line):
    line = re.sub(r'"(\\.|[^"\\])*"', '"…"', line)
    line = re.sub(r"\b([Lweki])\d+\b", r"\1#", line)
    line = re.sub(r"fnv64=[0-9a-f]+", "fnv", line)
    return re.sub(r"\b(data|text|write) \d+", r"\1 #", line)


def signature(a, b):
    if b.startswith("!!"):
        return "runner " + norm(b.split("\n")[0][:120])
    _, u, v = first_diff(a, b)
    return f"{norm(u)}  |  {norm(v)}"


# Put in front of the oracle's call of an action: tells of actions on sockets whose close has passed. (In JavaScript the object is
# still there; a handle finds nothing. The crate documents that, so such actions are taken out of a scenario.)
MARK = """
    for (const k of ['on', 'to']) {
      const n = a[k] === '$self' ? (ctx || {}).self : a[k], o = objs.get(n);
      if (o instanceof net.Socket && o.closed && !a.again) fs.writeSync(2, `AFTERCLOSE ${a.id} ${a.do} ${n}\\n`);
      if (k in a && o === undefined && a.do !== 'connect') { fs.writeSync(2, `NOTHING ${a.id}\\n`); return; }
    }
"""
CALL = "    actions[a.do](a, ctx || {});"


def watched(runs, scenario):
    """Runs a scenario on Node; returns what MARK says."""
    with tempfile.TemporaryDirectory(prefix="dfc") as folder:
        path, patched = saved(scenario, folder), os.path.join(folder, "oracle.js")
        with open(runs.oracle) as f:
            text = f.read()
        with open(patched, "w") as f:
            f.write(replaced(text, CALL, MARK + CALL))
        env = dict(os.environ, TMPDIR=folder)
        try:
            p = subprocess.run([runs.node, patched, path], stdin=subprocess.DEVNULL, capture_output=True, timeout=runs.limit, env=env)
        except subprocess.TimeoutExpired:
            return ""
        return p.stderr.decode(errors="replace")


def uses_after_close(runs, scenario):
    return sorted(set(re.findall(r"AFTERCLOSE \S+ (.*)", watched(runs, scenario))))


def all_lists(sc):
    """Every list of actions."""
    todo = [sc["main"]] + [e["do"] for k in ("on", "steps") for e in sc.get(k, [])]
    while todo:
        actions = todo.pop()
        yield actions
        todo += [a["then"] for a in actions if "then" in a]


def without_repeated_pipes(scenario):
    """A large transfer through two pipes from one socket to the same other one: the order of its bytes tells where the
    reads were cut, which is up to the kernel. So the first pipe stays, and the others are taken out."""
    if not is_large(scenario):
        return
    seen = set()
    for actions in all_lists(scenario):
        for a in [a for a in actions if a["do"] == "pipe"]:
            if (a["on"], a["to"]) in seen:
                actions.remove(a)
            seen.add((a["on"], a["to"]))


def is_large(scenario):
    """Whether it writes more than the kernel takes at once."""
    return any(a["do"] == "write" and a.get("fill", 0) > 64 * 1024 for actions in all_lists(scenario) for a in actions)


# How much slower a scenario is tried, to find out whether a difference is one of speed.
SLOWER = 5


def slower(scenario, times):
    """The same with longer pauses between the steps, and longer idle limits."""
    copied = json.loads(json.dumps(scenario))
    for step in copied.get("steps", []):
        step["delay"] = times * step.get("delay", 20)
    for actions in all_lists(copied):
        for a in actions:
            if a["do"] == "set_timeout" or a.get("as") == "guard":
                a["ms"] *= times
            if "timeout" in a.get("options", {}):
                a["options"]["timeout"] *= times
    return copied


def is_equal_when_slower(runs, scenario):
    with tempfile.TemporaryDirectory(prefix="dfs") as folder:
        return once(runs, slower(scenario, SLOWER), folder)[0] == "equal"


def repair(runs, scenario):
    """Takes out actions on what does not exist, or not any more."""
    without_repeated_pipes(scenario)
    n = 0
    for actions in all_lists(scenario):
        for a in actions:
            a["id"] = n = n + 1
    gone = {int(i) for i in re.findall(r"(?:AFTERCLOSE|NOTHING) (\d+)", watched(runs, scenario))}
    for actions in all_lists(scenario):
        actions[:] = [a for a in actions if a["id"] not in gone]
        for a in actions:
            del a["id"]
    return scenario


def only_local_address_differs(a, b):
    """Whether Node does not know the local address of a socket that is connecting, and nothing else differs. Asked for
    between `connect` and its system call, Node remembers until the connection is made that there was none."""
    x, y = a.split("\n"), b.split("\n")
    for i, (u, v) in enumerate(zip(x, y)):
        name = u.split(" ")[0]
        if u != v and (f"{name} connect" in x[:i] or not u.startswith(f"{name} props ")
                       or u != re.sub(r"\b(localAddress|localPort)=\S+", r"\1=none", v)):
            return False
    return len(x) == len(y)


def tag(runs, scenario, a, b, after_close):
    """What a difference probably is: one of those that the crate documents, a use after close, or new."""
    if "has no address" in b:
        return "after close (a server)"
    if b.startswith("!!"):
        return "crash"
    # With Node's system calls: what differs then is not due to the writes of a phase that leave together.
    b = runs.sending_each_write(scenario)
    if b == a:
        return "documented: one system call for all writes of a phase"
    if only_local_address_differs(a, b):
        return "documented: the local address while connecting"
    _, u, v = first_diff(a, b)
    x = (u if u[:1] not in "[<" else v).split(" ")[0]
    y = (v if v[:1] not in "[<" else u).split(" ")[0]
    if u == f"{x} error EINVAL reset" and v.startswith(f"{x} "):
        return "documented: end and reset in one callback"
    if u == f"{x} error ERR_MULTIPLE_CALLBACK":
        return "documented: end, connect and end again"
    if "error ECONNRESET read" in v and f"{y} error ECONNRESET read" not in a:
        return "documented: reset behind data"
    # Writes from before the connection leave together, also with one system call per write.
    early = a.split(f"\n{x} connect\n")[0]
    if early != a and len(re.findall(rf"^{x} write ", early, re.M)) > 1 and f"\n{x} error EPIPE write\n" in a and not re.search(
            rf"^{x} error \S+ write$", b, re.M):
        return "documented: one system call for all writes before the connection"
    m, n = (re.match(r"(\S+) (?:data|text) (\d+) ", line) for line in (u, v))
    if m and n and m[1] == n[1] and m[2] != n[2] and runs.receive_the_same(scenario):
        if max(int(m[2]), int(n[2])) > 64 * 1024:
            return "kernel: how much of a large write had left before a destroy"
        return "documented: which of the ready sockets a poll serves first"
    if is_large(scenario) and is_equal_when_slower(runs, scenario):
        return "kernel: how long a large transfer takes"
    for line in after_close:
        if line.split(" ")[-1] in (x, y):
            return "after close"
    return "new" if not after_close else "new (something used after close)"


def once(runs, scenario, folder):
    path = saved(scenario, folder)
    n1 = runs.on_node(path)
    if n1.startswith("!!"):
        return "bad", [n1], []
    b1 = runs.on_runner(path)
    n2 = runs.on_node(path)
    if n2 != n1:
        return "unstable", [n1, n2], [b1]
    b2 = runs.on_runner(path)
    n3 = runs.on_node(path)
    if n3 != n1:
        return "unstable", [n1, n2, n3], [b1, b2]
    return ("equal" if b1 == b2 == n1 else "diff"), [n1, n2, n3], [b1, b2]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--runner", required=True)
    ap.add_argument("--oracle", default=ORACLE)
    ap.add_argument("--from", dest="first", type=int, default=1)
    ap.add_argument("--count", type=int, default=100)
    ap.add_argument("--family")
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("--seeds", help="a comma-separated list, instead of --from and --count")
    ap.add_argument("--seconds", type=float, default=1e9)
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "difffuzz"))
    opt = ap.parse_args()
    runs = Runs(opt.runner, opt.oracle)
    work = pathlib.Path(opt.work)
    (work / "diff").mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()
    suspects = []
    tags, counts, fams = collections.Counter(), collections.Counter(), collections.defaultdict(collections.Counter)
    start = time.time()
    log = open(work / "log.jsonl", "a", buffering=1)

    def job(seed):
        began = time.time()
        if time.time() - start > opt.seconds:
            return
        sc = generate(seed, opt.family)
        fam = sc["title"].split()[-1]
        if fam not in ("loop", "pure"):
            sc = repair(runs, sc)
        with tempfile.TemporaryDirectory(prefix="dfz") as folder:
            verdict, nodes, mine = once(runs, sc, folder)
        rec = {"seed": seed, "family": fam, "verdict": verdict}
        rec["s"] = round(time.time() - began, 2)
        if verdict == "bad":
            m = re.search(r"(scenario error[^\n]*|Error[^\n]*|hang)", nodes[0])
            rec["why"] = m.group(1)[:100] if m else nodes[0][:100]
        if verdict == "diff":
            other = next(b for b in mine if b != nodes[0])
            rec["signature"] = signature(nodes[0], other)
            rec["after_close"] = uses_after_close(runs, sc)
            rec["tag"] = tag(runs, sc, nodes[0], other, rec["after_close"])
            rec["always"] = all(b != nodes[0] for b in mine)
            if not rec["always"]:
                rec["tag"] = "once: " + rec["tag"]      # a loaded machine; worth a look only if it comes again
            if rec["tag"] in ("new", "crash"):
                suspects.append((seed, sc))
            with open(work / "diff" / f"{seed}.json", "w") as f:
                json.dump({"scenario": sc, "node": nodes, "runner": mine, "signature": rec["signature"], "tag": rec["tag"], "after_close": rec["after_close"]}, f, ensure_ascii=False)
        with lock:
            tags[rec.get("tag", verdict)] += 1
            counts[verdict] += 1
            fams[fam][verdict] += 1
            log.write(json.dumps(rec, ensure_ascii=False) + "\n")
            if verdict == "diff":
                print(f"{seed} {fam} [{rec['tag']}]{'' if rec['always'] else ' FLAKY'} {rec['signature']}", flush=True)

    seeds = [int(s) for s in opt.seeds.split(",")] if opt.seeds else range(opt.first, opt.first + opt.count)
    with concurrent.futures.ThreadPoolExecutor(opt.jobs) as pool:
        for f in [pool.submit(job, s) for s in seeds]:
            f.result()
    stable = counts["equal"] + counts["diff"]
    print(f"generated {sum(counts.values())}, not valid {counts['bad']}, unstable on Node {counts['unstable']}, stable {stable}: "
          f"equal {counts['equal']}, different {counts['diff']}; {time.time() - start:.0f} s")
    for fam in sorted(fams):
        print("  ", fam, dict(fams[fam]))
    found = confirmed(runs, suspects)
    for name in sorted(set(tags) - {"bad", "unstable", "equal"}):
        print(f"  {tags[name]:5} {name}")
    print(f"new differences that came again: {len(found)} {found if found else ''}")
    if opt.check:
        sys.exit(bool(found))


def confirmed(runs, suspects):
    """Tries every new difference twice more, with nothing else running, and then with longer pauses. Returns the seeds of
    those that come each time."""
    found = []
    for seed, sc in suspects:
        again = []
        for _ in range(2):
            with tempfile.TemporaryDirectory(prefix="dfz") as folder:
                again.append(once(runs, sc, folder)[0])
        result = ""
        if again == ["diff", "diff"]:
            if is_equal_when_slower(runs, sc):
                result = ": equal with longer pauses, so the machine was busy"
            else:
                result = ": a new difference"
                found.append(seed)
        print(f"{seed}: tried again: {', '.join(again)}{result}", flush=True)
    return found


if __name__ == "__main__":
    main()
