"""Folders and files in an artifact store: a local folder, or S3 through fsspec.

``store`` has the store itself, ``local`` and ``remote`` the two places where bytes lie, ``manifest`` what a
folder holds, ``names`` what may be a name, ``failures`` what the errors of disks and object stores become.
"""

from services.common.artifacts.manifest import MANIFEST_NAME, Manifest
from services.common.artifacts.names import check_name, fingerprint_folder, sha256_bytes, sha256_file
from services.common.artifacts.store import Artifact, ArtifactStore

__all__ = [
    "MANIFEST_NAME",
    "Artifact",
    "ArtifactStore",
    "Manifest",
    "check_name",
    "fingerprint_folder",
    "sha256_bytes",
    "sha256_file",
]
