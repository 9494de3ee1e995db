#!/usr/bin/env bash
# pytest-xdist 3.8.0: a run with workers ends if the controller cannot import the module of a warning.
#
# Expected: a warning passes from a worker to the controller as text, so a module that only the worker can import does
# no harm. Seen (Python 3.11, pytest 9.2.0): the same two tests pass in one process, with exit status 0 and one
# warning. With two workers the controller reports INTERNALERROR with a ModuleNotFoundError, and the exit status is 3.
# It calls importlib.import_module on the module of the warning's class. This happens with a library that is
# importable only after a test has prepared it: the controller does not run the test.
#
# Output seen:
#   alone: exit status 0, 2 passed, 1 warning in 0.01s
#   two workers: exit status 3, !!! <ExceptionInfo ModuleNotFoundError("No module named 'late_library'") tblen=6>
#
# Exits with 0 if this is still so, 1 if it has changed.
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
