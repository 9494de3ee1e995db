#!/bin/sh
# A multi-model server's "Python". Isolated (-I): the server puts the archive's directory on PYTHONPATH, and nothing
# of it may run before it was verified.
exec "$WORKER_PYTHON" -I -m driftserve.worker "$@"
