"""Opening a package: a mapped file, split into manifest and payload, nothing copied or believed.

Owns the byte layout. Lengths are checked before anything is allocated or read, and the payload is
a read-only view of the file. Opening proves nothing about content: that is `verification.py`.
A file that another process truncates while it is mapped ends this one with SIGBUS, as with every
mapped file; put packages where only their owner writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import stat
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from tensafe.errors import DataError, VerificationError
from tensafe.tgsp.canonical import MAX_JSON_BYTES
from tensafe.tgsp.manifest import Manifest, parse_manifest
from tensafe.tgsp.safetensors_header import SafetensorsHeader, read_header

MAGIC = b"TGSP\x01\x00"
PREAMBLE_BYTES = len(MAGIC) + 4
MAX_MANIFEST_BYTES = MAX_JSON_BYTES
# Mapped pages count as resident until they are dropped; this bounds them while hashing.
_HASH_CHUNK_BYTES = 16 * 1024 * 1024


class PackageFormatError(VerificationError):
    """The bytes are not laid out as a package: the message says where they stop being one."""


@dataclass(frozen=True)
class Package:
    """An opened package; `payload` is valid only while it is open."""

    manifest_bytes: bytes
    payload: memoryview
    size_bytes: int

    def manifest(self) -> Manifest:
        """The manifest, parsed strictly but not verified.

        Raises:
            JSONFormError, ManifestError: it is malformed.
        """
        return parse_manifest(self.manifest_bytes)

    def header(self) -> SafetensorsHeader:
        """Where the payload's tensors lie.

        Raises:
            PayloadError: the payload is not well-formed safetensors.
        """
        return read_header(self.payload)

    def payload_hash(self) -> str:
        """Hex SHA-256 of the payload: one pass, in bounded resident memory."""
        return _hash_mapped(self.payload, self.size_bytes - len(self.payload))


def split_package(data: bytes | memoryview, *, max_manifest: int = MAX_MANIFEST_BYTES) -> Package:
    """Split a package's bytes without copying the payload.

    Raises:
        PackageFormatError: wrong magic, or a length that the bytes can't have.
    """
    view = memoryview(data)
    if len(view) < PREAMBLE_BYTES:
        raise PackageFormatError(f"{len(view)} bytes are too few for a package")
    magic = bytes(view[: len(MAGIC)])
    if magic != MAGIC:
        if magic[:4] == MAGIC[:4]:
            raise PackageFormatError(f"TGSP version {magic[4]}.{magic[5]}: only 1.0 is known")
        raise PackageFormatError("does not start with the TGSP magic")
    length = int.from_bytes(view[len(MAGIC) : PREAMBLE_BYTES], "little")
    if length > max_manifest:
        raise PackageFormatError(
            f"declares a manifest of {length} bytes: at most {max_manifest} are accepted"
        )
    if length > len(view) - PREAMBLE_BYTES:
        raise PackageFormatError(
            f"declares a manifest of {length} bytes, but only {len(view) - PREAMBLE_BYTES} follow"
        )
    start = PREAMBLE_BYTES + length
    return Package(bytes(view[PREAMBLE_BYTES:start]), view[start:], len(view))


@contextlib.contextmanager
def open_package(path: Path, *, max_manifest: int = MAX_MANIFEST_BYTES) -> Generator[Package]:
    """Map a package file for reading.

    Raises:
        DataError: there is no such file, or it can't be read.
        PackageFormatError: it is not a plain file, or not laid out as a package.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PackageFormatError("is not a plain file")
        if status.st_size < PREAMBLE_BYTES:
            raise PackageFormatError(f"{status.st_size} bytes are too few for a package")
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    view = memoryview(mapped)
    try:
        package = split_package(view, max_manifest=max_manifest)
        try:
            yield package
        finally:
            package.payload.release()
    finally:
        view.release()
        # A view that outlives the block keeps the mapping alive until it is collected.
        with contextlib.suppress(BufferError):
            mapped.close()


def package_digest(path: Path) -> str:
    """Hex SHA-256 of the whole file: the package's name among packages.

    Raises:
        DataError: there is no such file, or it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _hash_mapped(payload: memoryview, start: int) -> str:
    digest = hashlib.sha256()
    mapped = payload.obj if isinstance(payload.obj, mmap.mmap) else None
    for offset in range(0, len(payload), _HASH_CHUNK_BYTES):
        digest.update(payload[offset : offset + _HASH_CHUNK_BYTES])
        if mapped is not None:
            begin = (start + offset) // mmap.PAGESIZE * mmap.PAGESIZE
            end = min(start + offset + _HASH_CHUNK_BYTES, len(mapped))
            mapped.madvise(mmap.MADV_DONTNEED, begin, end - begin)
    return digest.hexdigest()
