"""A data set of Kaggle, downloaded by `kagglehub` into its cache.

A public one takes no account; a private one KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY. The cache is
~/.cache/kagglehub, or where KAGGLEHUB_CACHE points.
"""

import sys
import tarfile
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

from driftserve.errors import DataError


def download_dataset(handle: str) -> Path:
    """The folder of a data set's newest version, or of the one that the handle names.

    Args:
        handle: `<owner>/<name>` or `<owner>/<name>/versions/<number>`.

    Raises:
        DataError: there is no such data set, it may not be read, or Kaggle cannot be reached.
    """
    with redirect_stdout(sys.stderr):  # its logger takes what is stdout at import, which is for our result alone
        import kagglehub
        import requests
        from kagglehub.exceptions import DataCorruptionError

        try:
            return Path(kagglehub.dataset_download(handle))
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "no status"
            reason = f"{status} from Kaggle"
            advice = "check the name, and for a private one the token in KAGGLE_API_TOKEN"
        except requests.RequestException as error:
            reason, advice = f"no answer from Kaggle ({error})", "check the network"
        except (ValueError, OSError, DataCorruptionError, zipfile.BadZipFile, tarfile.TarError) as error:
            reason, advice = str(error), "expected is <owner>/<name>, and room in KAGGLEHUB_CACHE"
    raise DataError(f"kaggle:{handle}: expected a data set that can be downloaded, got {reason}; {advice}")
