#!/usr/bin/env bash
# pytest-xdist 3.8.0 on pytest 9.2.0: `--dist loadgroup` ignores `xdist_group` without a warning.
#
# Expected: the tests of one group run on one worker, as the documentation of pytest-xdist says. Seen (Python 3.11):
# the tests of one group run on both workers, and a module-scoped fixture runs twice. pytest-xdist appends the group
# to `_nodeid` of a test. pytest 9.2 computes `nodeid` without that attribute, so the scheduler never sees the group.
# With pytest 8.4.2 the same tests stay on one worker.
#
# Output seen:
#   workers that ran the one group: pytest 8.4.2 1, pytest 9.2.0 2
#
# Exits with 0 if this is still so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_group.py" <<'PY'
import os
import time

import pytest

pytestmark = pytest.mark.xdist_group("together")


@pytest.mark.parametrize("number", range(12))
def test_where(number: int) -> None:
    time.sleep(0.05)
    print(f"ran on {os.environ['PYTEST_XDIST_WORKER']}")
PY
cd "$folder"
workers_of_the_group() {
  python3 -m venv "venv-$1"
  "venv-$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0
  "venv-$1/bin/python" -m pytest -p no:cacheprovider -n 2 --dist loadgroup -rP test_group.py | grep -o 'ran on gw[0-9]*' |
    sort -u | wc -l
}
older=$(workers_of_the_group 8.4.2)
newer=$(workers_of_the_group 9.2.0)
echo "workers that ran the one group: pytest 8.4.2 $older, pytest 9.2.0 $newer"
[ "$older" = 1 ] && [ "$newer" = 2 ]
