#!/usr/bin/env bash
# Runs the official test suites of Engine.IO and Socket.IO against the examples `engineio_echo` and `socketio_suite`.
# They come from the repository socketio/socket.io, which is fetched. It needs node, npm and git.
#
# usage: tests/interop/socketio_suites.sh [TIMES]
#   TIMES  how often each suite runs; 20 by default
#
#   SOCKETIO_REPO  a copy of the repository; by default it is fetched into target/interop
set -euo pipefail
cd "$(dirname "$0")/../.."
times=${1:-20}
work=$PWD/target/interop/suites
target=${CARGO_TARGET_DIR:-target}

repo=${SOCKETIO_REPO:-$PWD/target/interop/socket.io.git}
[ -e "$repo" ] ||
  git clone --quiet --bare --depth 1 --filter=blob:none https://github.com/socketio/socket.io "$repo"

# Copies a suite. Its port is fixed; here it is taken from the environment.
copy() {
  mkdir -p "$work/$2"
  local file
  for file in test-suite.js node-imports.js package.json; do
    git -C "$repo" show "HEAD:docs/$1/$file" >"$work/$2/$file"
  done
  # shellcheck disable=SC2016 # The template is JavaScript's.
  sed -i 's|"http://localhost:3000"|`http://127.0.0.1:${process.env.SUITE_PORT}`|' "$work/$2/test-suite.js"
}
copy engine.io-protocol/v4-test-suite eio4
copy engine.io-protocol/v3-test-suite eio3
copy socket.io-protocol/v5-test-suite sio5
# Packets that arrive together are events of one turn: the suite would miss the second one.
cat >>"$work/eio3/node-imports.js" <<'EOF'
globalThis.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url, { allowSynchronousEvents: false });
  }
};
EOF
if [ ! -e "$work/node_modules/mocha" ]; then
  cp "$work/eio4/package.json" "$work/"
  npm install --prefix "$work" --no-package-lock --no-audit --no-fund --loglevel=error
fi

cargo build --quiet --features socket-io --example engineio_echo --example socketio_suite

# Runs a suite against a program.
run() {
  local suite=$1 program=$2 failures=0 passes='' log=$work/$1.log server line i
  shift 2
  coproc SERVER { exec env PORT=0 "$@" "$target/debug/examples/$program"; }
  server=$SERVER_PID
  read -r line <&"${SERVER[0]}"
  export SUITE_PORT=${line##*:}
  : >"$log"
  for ((i = 0; i < times; i++)); do
    (cd "$work/$suite" && ../node_modules/.bin/mocha --reporter dot test-suite.js) >>"$log" 2>&1 || failures=$((failures + 1))
  done
  passes=$(grep -oE '[0-9]+ (passing|pending|failing)' "$log" | sort | uniq -c | sed 's/^ *//; s/\([0-9]*\) \(.*\)/\1 times \2/' | paste -sd, -)
  kill "$server"
  wait "$server" 2>/dev/null || true
  echo "$suite: $passes"
  [ "$failures" -eq 0 ] || { echo "$suite: $failures of $times runs have failed, see $log" >&2; return 1; }
}

status=0
run eio4 engineio_echo || status=1
run eio3 engineio_echo EIO3=1 || status=1
run sio5 socketio_suite || status=1
exit "$status"
