"""Files in object stores (`s3://`, `gs://`, …), sent and fetched by mosaicml-streaming's own code.

Credentials and `S3_ENDPOINT_URL` come from the environment, as streaming documents them; nothing
is asked for and nothing is kept. Objects are only ever written whole, and never deleted.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data_tools.errors import StorageError
from data_tools.mds import import_streaming

THREADS = 8  # files sent at once; a shard takes seconds and waits for the network
# What to install for each kind of store. boto3 comes with codeqa, so `s3` needs nothing.
EXTRAS = {
    "s3": "boto3",
    "gs": "google-cloud-storage",
    "oci": "oci",
    "azure": "azure-storage-blob azure-identity",
    "azure-dl": "azure-storage-file-datalake azure-identity",
}


def is_remote(location: str) -> bool:
    """Say whether a location is the URL of an object store rather than a path."""
    return "://" in location


def check_address(url: str) -> str:
    """Return the URL without a slash at its end.

    :raises StorageError: it is of no store that is known, or names no bucket.
    """
    parts = urlsplit(url)
    if parts.scheme not in EXTRAS:
        known = ", ".join(f"{scheme}://" for scheme in EXTRAS)
        raise StorageError(f"{url} is in no object store that is known; use a folder or {known}")
    if not parts.netloc:
        raise StorageError(f"{url} names no bucket; write it as {parts.scheme}://BUCKET/PATH")
    return url.rstrip("/")


def upload(
    folder: Path, url: str, names: Sequence[str], *, sent: Callable[[int], None] | None = None
) -> None:
    """Send files, several at once; the last ones may be sent before the first.

    :param names: paths below `folder`, which they get below `url` too.
    :param sent: told how many files have arrived.
    :raises StorageError: the store cannot be reached or written to.
    """
    with _store_errors(url, "write to"):
        uploader = _uploader(url, folder)
        with ThreadPoolExecutor(THREADS) as pool:
            for count, _ in enumerate(pool.map(uploader.upload_file, names), start=1):
                if sent:
                    sent(count)


def write_text(text: str, url: str) -> None:
    """Write a small text file.

    :raises StorageError: the store cannot be reached or written to.
    """
    parent, _, name = url.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="codeqa-") as folder:
        (Path(folder) / name).write_text(text, "utf-8")
        upload(Path(folder), parent, [name])


def exists(url: str) -> bool:
    """Say whether there is an object of exactly this name.

    :raises StorageError: the store cannot be reached.
    """
    parent, _, name = url.rpartition("/")
    key = urlsplit(url).path.lstrip("/")
    with _store_errors(url, "read"), tempfile.TemporaryDirectory(prefix="codeqa-") as folder:
        return key in (_uploader(parent, Path(folder)).list_objects(name) or [])


def download(url: str, file: Path) -> None:
    """Fetch one file; what stood at `file` is replaced whole.

    :raises StorageError: it is not there, or the store cannot be reached.
    """
    import_streaming()
    from streaming.base.storage.download import CloudDownloader

    draft = file.with_name(f".{file.name}.part")
    draft.unlink(missing_ok=True)
    with _store_errors(url, "read"):
        CloudDownloader.direct_download(check_address(url), str(draft))
        draft.replace(file)


def read_text(url: str) -> str:
    """Fetch a small text file.

    :raises StorageError: it is not there, or the store cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="codeqa-") as folder:
        file = Path(folder) / "text"
        download(url, file)
        return file.read_text("utf-8")


def _uploader(url: str, folder: Path) -> Any:  # noqa: ANN401 - streaming's classes share no type
    import_streaming()
    from streaming.base.storage.upload import CloudUploader

    return CloudUploader.get((str(folder), check_address(url)), keep_local=True, exist_ok=True)


@contextmanager
def _store_errors(url: str, action: str) -> Iterator[None]:
    """Turn what a store's client raises, of which there are dozens of kinds, into one line."""
    scheme = urlsplit(url).scheme
    try:
        yield
    except StorageError:
        raise
    except ImportError as error:
        raise StorageError(
            f"{scheme}:// needs a package that is not installed ({error}); "
            f"run `pip install {EXTRAS.get(scheme, scheme)}`"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(
            f"cannot {action} {url} ({reason}); check the address, the credentials in the "
            "environment, and S3_ENDPOINT_URL where the store is not Amazon's"
        ) from error
