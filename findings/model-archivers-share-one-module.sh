#!/usr/bin/env bash
# torch-model-archiver 0.12.0 and model-archiver 1.0.3 overwrite each other, and pip does not report it.
#
# Expected: the archiver of TorchServe and the archiver of Multi Model Server (MMS) work in one environment, or pip
# reports the conflict. Seen (Python 3.11): both packages install a top-level module `model_archiver`. After both
# installs, the command `torch-model-archiver` runs the code of the MMS archiver. It rejects the arguments that worked
# before. `pip check` reports no conflict. Uninstalling model-archiver does not restore the first package.
#
# Output seen:
#   torch-model-archiver alone: exit status 0
#   beside model-archiver: exit status 2, usage: model-archiver [-h] --model-name MODEL_NAME --model-path MODEL_PATH
#   pip check: exit status 0
#   after model-archiver was uninstalled: exit status 1, ModuleNotFoundError: No module named
#   'model_archiver.model_packaging'
#
# Exits with 0 if this is still so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
pip() { venv/bin/pip --quiet --disable-pip-version-check "$@"; }
echo "weights" >model.pt
cat >handler.py <<'PY'
def handle(data, context):
    return data
PY
archive() {
  status=0
  venv/bin/torch-model-archiver --model-name small --version 1 --serialized-file model.pt --handler handler.py --force \
    >"$1.log" 2>&1 || status=$?
}

pip install torch-model-archiver==0.12.0
archive alone
alone=$status
pip install model-archiver==1.0.3
archive both
both=$status
conflict=0
pip check >check.log 2>&1 || conflict=$?
pip uninstall --yes model-archiver
archive after
after=$status

echo "torch-model-archiver alone: exit status $alone"
echo "beside model-archiver: exit status $both, $(head -n 1 both.log)"
echo "pip check: exit status $conflict"
echo "after model-archiver was uninstalled: exit status $after, $(tail -n 1 after.log)"
[ "$alone" = 0 ] && [ "$both" = 2 ] && grep -q "^usage: model-archiver " both.log && [ "$conflict" = 0 ] &&
  [ "$after" = 1 ] && grep -q "No module named 'model_archiver" after.log
