"""Download a Kaggle data set with `kagglehub`, into its cache.

A public data set needs no account. A private one needs credentials: KAGGLE_API_TOKEN, or KAGGLE_USERNAME and
KAGGLE_KEY, or ~/.kaggle/kaggle.json. The cache is ~/.cache/kagglehub, or the folder in KAGGLEHUB_CACHE.
"""

import sys
import tarfile
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

from driftserve.errors import DataError


def download_dataset(handle: str) -> Path:
    """Download a data set and return its folder in the cache. The newest version is the default.

    Args:
        handle: `<owner>/<name>` or `<owner>/<name>/versions/<number>`.

    Raises:
        DataError: the name is wrong, access is denied, Kaggle cannot be reached, or the download failed.
    """
    # kagglehub logs to the stdout that it finds at import; our stdout is only for the result.
    with redirect_stdout(sys.stderr):
        import kagglehub
        import requests
        from kagglehub.exceptions import DataCorruptionError

        try:
            return Path(kagglehub.dataset_download(handle))
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "no status"
            reason = f"{status} from Kaggle"
            advice = "check the name, and for a private data set your Kaggle credentials"
        except requests.RequestException as error:
            reason, advice = f"no answer from Kaggle ({error})", "check the network"
        except (ValueError, OSError, DataCorruptionError, zipfile.BadZipFile, tarfile.TarError) as error:
            reason = str(error)
            advice = "check the name, <owner>/<name>, and the free space; if the download is corrupt, try again"
    raise DataError(f"kaggle:{handle}: cannot download the data set: {reason}; {advice}")
