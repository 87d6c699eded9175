"""The files of a store, wherever they lie: the few operations that a store rests on."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import StoreError
from harness.store.files.local import LocalFiles
from harness.store.files.objects import ObjectFiles, object_system
from harness.store.files.protocol import Files
from harness.store.files.whole import replacing

__all__ = ["Files", "LocalFiles", "ObjectFiles", "open_files", "replacing"]

OBJECT_SCHEMES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET",
    "abfss": "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET",
}
"""Schemes whose objects appear whole, and where their credentials come from."""


def open_files(address: Path | str) -> LocalFiles | ObjectFiles:
    """Return the files of a store; nothing is read or made.

    Args:
        address: a path, or an address such as s3://bucket/folder. Where an S3 server is, and in which
            region, comes from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, and AWS_REGION or AWS_DEFAULT_REGION.

    Raises:
        StoreError: the address has credentials in it, no bucket, or a scheme that cannot hold a store.
    """
    text = str(address)
    scheme, colon, rest = text.partition("://")
    if isinstance(address, Path) or not colon:
        return LocalFiles(Path(text))
    if scheme == "file":
        return LocalFiles(Path(rest))
    if scheme not in OBJECT_SCHEMES:
        raise StoreError(
            f"no store at {scheme}://: expected a folder, or an address with {', '.join(OBJECT_SCHEMES)}"
        )
    bucket, _, prefix = _without_credentials(text, scheme).partition("/")
    if not bucket:
        raise StoreError(f"{scheme}:// names no bucket; expected {scheme}://bucket/folder")
    container = bucket.partition("@")[0]  # Azure's addresses are container@account
    folder = f"{container}/{prefix.strip('/')}".rstrip("/")
    return ObjectFiles(object_system(scheme, bucket), folder, text.rstrip("/"))


def _without_credentials(text: str, scheme: str) -> str:
    """Return bucket and prefix.

    Raises:
        StoreError: there is more than that, which may be a secret and so is not repeated.
    """
    parts = urlsplit(text)
    user_is_container = scheme in ("abfs", "abfss")
    if parts.query or parts.fragment or parts.password or ("@" in parts.netloc and not user_is_container):
        raise StoreError(
            f"an address is {scheme}://bucket/folder and no more: addresses are stored and shown; "
            f"credentials come from {OBJECT_SCHEMES[scheme]}"
        )
    return f"{parts.netloc}{parts.path}"
