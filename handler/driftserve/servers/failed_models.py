"""Cleans up after a multi-model TorchServe: unregisters models that failed to load, and forgets unloaded models.

When a model fails to load, TorchServe ends the worker and then tries to unregister the model, but in a thread that it
has just interrupted. So the model stays registered without a worker, and the next request to load it gets 409, as if it
were loaded (ApiUtils.updateModelWorkers and WorkLoadManager.shutdownServerThread, TorchServe 0.12).
"""

import http.client
import json
import logging
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from driftserve.archive.served import encoded_name, encoded_name_of
from driftserve.host.stop import StopFlag
from driftserve.runtime.directory import forget_contract, known_keys
from driftserve.runtime.store import locked, sweep

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.25
_TIMEOUT_SECONDS = 5.0
_TICKS_UNTIL_ALL_ARE_LOOKED_AT = 40  # checks from one full check to the next, in ten seconds


class FailedModelCleaner(threading.Thread):
    """Unregisters models that failed to load, and forgets unloaded ones, until the stop flag is set."""

    def __init__(
        self, host: str, port: int, store: Path, stop: StopFlag, interval_seconds: float = _INTERVAL_SECONDS
    ) -> None:
        super().__init__(name="leftovers", daemon=True)
        self._host = host
        self._port = port
        self._store = store
        self._stop_flag = stop
        self._interval_seconds = interval_seconds
        self._serving: set[str] = set()  # models with a worker, which are skipped until the next full check
        # Models without a worker at the last check. They may have failed, or have only started to load.
        self._suspects: set[str] = set()
        self._unregistered: set[str] = set()  # keys of models that were not registered at the last full check

    def run(self) -> None:
        """Check new models at each interval, and all models at every 40th, which is every ten seconds."""
        tick = 0
        while not self._stop_flag.wait(self._interval_seconds):
            tick += 1
            try:
                if tick % _TICKS_UNTIL_ALL_ARE_LOOKED_AT == 0:
                    self._serving.clear()
                    with locked(self._store):
                        sweep(self._store)
                    self._forget_unregistered()
                self._unregister_failed()
            except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
                logger.debug("cannot list the models: %s", error)  # the server is starting, or has another problem

    def _unregister_failed(self) -> None:
        names = self._names()
        self._serving &= names
        suspects = set()
        for name in names - self._serving:
            status, described = self._ask("GET", f"/models/{quote(name, safe='')}")
            if status != 200:  # the model has just been unloaded
                continue
            if any(worker["status"] == "READY" for worker in described[0]["workers"]):
                self._serving.add(name)
            elif int(described[0]["maxWorkers"]) > 0:  # it is loading, or a new worker replaces a dead one
                continue
            elif name in self._suspects:
                status, _ = self._ask("DELETE", f"/models/{quote(name, safe='')}")
                logger.warning("model %s failed to load: unregistered it, status %d", name, status)
            else:
                suspects.add(name)
        self._suspects = suspects

    def _forget_unregistered(self) -> None:
        """Let the monitor forget the models that were not registered at two full checks in a row.

        `sweep` does not see that one name of an archive is unloaded while another one is served. At the first check,
        the last observations may still be under way.
        """
        keys = known_keys(self._store.parent)  # before the names, since a model is registered before its worker starts
        registered = set(map(encoded_name, self._names()))
        unregistered = {key for key in keys if encoded_name_of(key) and encoded_name_of(key) not in registered}
        for key in self._unregistered & unregistered:
            # The list comes in pages, and a model can change its place meanwhile.
            if self._ask("GET", f"/models/{encoded_name_of(key)}")[0] == 404:
                forget_contract(self._store.parent, key)
        self._unregistered = unregistered

    def _names(self) -> set[str]:
        names: set[str] = set()
        page: str | None = "0"
        while page is not None:
            _, listed = self._ask("GET", f"/models?limit=100&next_page_token={quote(page)}")
            names |= {str(model["modelName"]) for model in listed["models"]}
            page = listed.get("nextPageToken")
        return names

    def _ask(self, method: str, path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()
