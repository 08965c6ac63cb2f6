"""Artifacts in an object store, through fsspec (``s3://`` by s3fs).

One put is one request, or one multipart upload: the object is there whole or not at all, and nothing is
moved, since a move would be a copy and a deletion. Endpoint, region and credentials are read by botocore
where it always reads them (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID …, a profile, the instance's role).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from fsspec.core import url_to_fs

from services.common.artifacts.local import INCOMPLETE, PART

_READ_BYTES = 4 * 1024 * 1024
# botocore tries again by itself, with growing pauses; whoever calls us may try again after that.
_S3_CONFIG: Mapping[str, Any] = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}


class RemoteFiles:
    """Objects below one URI, by relative names that have been checked. Raises what fsspec raises."""

    def __init__(self, root_uri: str) -> None:
        s3 = root_uri.startswith(("s3://", "s3a://"))
        # No cache of listings: other processes write here too.
        options = {"config_kwargs": dict(_S3_CONFIG), "use_listings_cache": False} if s3 else {}
        self._fs, root = url_to_fs(root_uri, skip_instance_cache=True, **options)
        if s3:
            # s3fs would try five times around botocore's own three.
            self._fs.retries = 1
        self._root = root.rstrip("/")

    def open(self, name: str) -> IO[bytes]:
        """A file to read from."""
        file: Any = self._fs.open(
            f"{self._root}/{name}", "rb", block_size=_READ_BYTES, cache_type="readahead"
        )
        if file.details["type"] != "file":
            # What lies above objects reads as an empty file.
            file.close()
            raise IsADirectoryError(f"{name} is a folder")
        opened: IO[bytes] = file
        return opened

    def size(self, name: str) -> int:
        """Bytes of an object."""
        info = self._fs.info(f"{self._root}/{name}")
        if info["type"] != "file":
            raise IsADirectoryError(f"{name} is a folder")
        return int(info["size"] or 0)

    def write(self, name: str, source: bytes | Path) -> None:
        """Put an object in place, in one step."""
        path = f"{self._root}/{name}"
        if isinstance(source, bytes):
            self._fs.pipe_file(path, source)
        else:
            self._fs.put_file(str(source), path)

    def exists(self, name: str) -> bool:
        """True if there is an object, or any below that name."""
        try:
            self._fs.info(f"{self._root}/{name}")
        except FileNotFoundError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove an object, or all below a name."""
        try:
            self._fs.rm(f"{self._root}/{name}", recursive=True)
        except FileNotFoundError:
            return

    def leftovers(self, older_than_s: float) -> Iterator[str]:
        """Relative names of temporary objects and of marks of incomplete folders, of that age."""
        limit = datetime.now(UTC) - timedelta(seconds=older_than_s)
        for path, info in self._fs.find(self._root, detail=True).items():
            last = path.rpartition("/")[2]
            if (last == INCOMPLETE or PART.fullmatch(last)) and _written(info) < limit:
                yield path[len(self._root) + 1 :]

    def forget_uploads(self, older_than_s: float) -> list[str]:
        """Abort multipart uploads of that age: they are paid for and seen by nobody. Returns their names."""
        if not hasattr(self._fs, "call_s3"):
            return []
        limit = datetime.now(UTC) - timedelta(seconds=older_than_s)
        bucket, prefix, _ = self._fs.split_path(f"{self._root}/")
        found = self._fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
        aborted = []
        for upload in found.get("Uploads", ()):
            if upload["Initiated"] < limit:
                self._fs.call_s3(
                    "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
                aborted.append(str(upload["Key"]).removeprefix(prefix).lstrip("/"))
        return aborted

    def uri(self, name: str) -> str:
        """The object's URI."""
        return str(self._fs.unstrip_protocol(f"{self._root}/{name}"))


def _written(info: Mapping[str, Any]) -> datetime:
    found = info.get("LastModified") or info.get("created") or info.get("mtime")
    return found if isinstance(found, datetime) else datetime.now(UTC)
