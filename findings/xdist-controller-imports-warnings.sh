#!/usr/bin/env bash
# pytest-xdist: the controller imports the module of every warning that a worker reports; where it cannot, the run ends.
#
# Expected: a warning crosses from a worker to the controller as text, so what only a worker can import
# does no harm. Seen (Python 3.11, pytest 9.2.0, pytest-xdist 3.8.0): the same two passing tests end with 0 in one
# process and as "2 passed, 1 warning"; with two workers the controller raises ModuleNotFoundError as INTERNALERROR,
# exit status 3, since it calls importlib.import_module on the warning class's module. Met with a library that can be
# imported only after another one was prepared: a test prepares it, the controller does not.
#
# Exits with 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.2.0 pytest-xdist==3.8.0
mkdir "$folder/only_for_workers"
cat >"$folder/only_for_workers/late_library.py" <<'PY'
class LateWarning(UserWarning):
    """A warning of a library that is not importable everywhere."""
PY
cat >"$folder/test_late.py" <<'PY'
import sys
import warnings
from pathlib import Path


def test_with_a_warning() -> None:
    sys.path.insert(0, str(Path(__file__).parent / "only_for_workers"))
    from late_library import LateWarning

    warnings.warn("late", LateWarning, stacklevel=1)


def test_without() -> None:
    pass
PY
cd "$folder"
status_alone=0 status_workers=0
venv/bin/python -m pytest -q -p no:cacheprovider test_late.py >alone.log 2>&1 || status_alone=$?
venv/bin/python -m pytest -q -p no:cacheprovider -n 2 test_late.py >workers.log 2>&1 || status_workers=$?
echo "alone: exit status $status_alone, $(tail -n 1 alone.log)"
echo "two workers: exit status $status_workers, $(grep -m 1 ModuleNotFoundError workers.log || tail -n 1 workers.log)"
[ "$status_alone" = 0 ] && [ "$status_workers" = 3 ] && grep -q "INTERNALERROR.*No module named 'late_library'" workers.log
