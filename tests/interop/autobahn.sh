#!/usr/bin/env bash
# Runs Autobahn|Testsuite against the server and the client. It needs Python 2.7, for example from pyenv, and about half
# an hour. The reports are in target/interop/autobahn-reports.
#
# usage: tests/interop/autobahn.sh [CASES [TEST]]
#   CASES  for example '1.*,6.4.*'; all cases by default
#   TEST   server or client; both by default
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/interop

python=${PYTHON27:-}
for candidate in python2.7 "$HOME"/.pyenv/versions/2.7.*/bin/python; do
  [ -z "$python" ] && "$candidate" --version >/dev/null 2>&1 && python=$candidate
done
[ -n "$python" ] || { echo 'no Python 2.7: set PYTHON27' >&2; exit 1; }

packages=$work/autobahn
if [ ! -e "$packages/autobahntestsuite" ]; then
  "$python" -m pip install --quiet --disable-pip-version-check --target "$packages" autobahntestsuite==25.10.1
fi

# Some of the packages share a name, so the folder must be a folder of packages and not only in the path.
export AUTOBAHN=$work/wstest
cat >"$AUTOBAHN" <<EOF
#!/bin/sh
exec "$python" -c 'import site, sys
site.addsitedir("$packages")
from autobahntestsuite.wstest import run
sys.argv[0] = "wstest"
run()' "\$@"
EOF
chmod +x "$AUTOBAHN"
[ -z "${1:-}" ] || export AUTOBAHN_CASES=$1
# With optimization: some cases have a time limit.
cargo test --profile bench --test interop -- --nocapture --test-threads=1 "autobahn_finds_no_fault_in_the_${2:-}"
