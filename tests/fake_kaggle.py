"""A fake of Kaggle's data set API: the part that `kagglehub.dataset_download` uses.

kagglehub does not accept an arbitrary endpoint; KAGGLE_API_ENVIRONMENT=LOCALHOST means http://localhost
(kagglesdk/kaggle_env.py). So the fake is an HTTP proxy for that address; `environment` sets it up.

It imitates GetDataset (returns the newest version), DownloadDataset (redirects to storage) and the download from
storage, with length, MD5 and Range requests. A private data set needs a token.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TOKEN = "fake-token"  # noqa: S105  valid only for this fake
_SERVICE = "/api/v1/datasets.DatasetApiService/"
_STORAGE = "http://storage.localhost/"


@dataclass
class FakeKaggle:
    """The archives by `<owner>/<name>`, all with newest version `version`; `requests` records the requested paths."""

    archives: Mapping[str, bytes]
    private: frozenset[str] = frozenset()
    version: int = 2
    url: str = ""
    requests: list[str] = field(default_factory=list)

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the variables that send kagglehub to this fake and keep its cache and home in a folder."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": self.url,
            "http_proxy": self.url,
            "NO_PROXY": "",
            "no_proxy": "",
            "KAGGLEHUB_CACHE": str(folder / "cache"),
            "KAGGLE_CONFIG_DIR": str(folder),
            "HOME": str(folder),
        }


@contextmanager
def fake_kaggle(archives: Mapping[str, bytes], private: frozenset[str] = frozenset()) -> Iterator[FakeKaggle]:
    """Run the fake."""
    fake = FakeKaggle(archives, private)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    fake.url = "http://{}:{}".format(*server.server_address[:2])
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer_json(self, status: int, content: object) -> None:
        self.answer(status, json.dumps(content).encode(), **{"Content-Type": "application/json"})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _handler(fake: FakeKaggle) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        def do_POST(self) -> None:
            path = urlsplit(self.path).path
            fake.requests.append(path)
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = f"{asked.get('ownerSlug')}/{asked.get('datasetSlug')}"
            if name not in fake.archives:
                return self.answer_json(404, {"code": 404, "message": "Not found"})
            if name in fake.private and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer_json(403, {"code": 403, "message": "Permission 'datasets.get' was denied"})
            if path == f"{_SERVICE}GetDataset":
                return self.answer_json(200, {"currentVersionNumber": fake.version})
            if path == f"{_SERVICE}DownloadDataset" and asked.get("datasetVersionNumber") in range(1, fake.version + 1):
                return self.answer(302, b"", Location=f"{_STORAGE}{name}/archive.zip")
            return self.answer_json(404, {"code": 404, "message": "Not found"})

        def do_GET(self) -> None:
            fake.requests.append(urlsplit(self.path).path)
            body = fake.archives[self.path.removeprefix(_STORAGE).removesuffix("/archive.zip")]
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            digest = base64.b64encode(hashlib.md5(body).digest()).decode()  # noqa: S324  as Google's storage sends it
            headers = {"Accept-Ranges": "bytes", "x-goog-hash": f"md5={digest}", "Content-Type": "application/zip"}
            self.answer(206 if start else 200, body[start:], **headers)

    return Handler
