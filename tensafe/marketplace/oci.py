"""A marketplace in an OCI registry: each version one artifact of three layers.

The layers are the manifest's bytes, the payload (plain safetensors, which other tools can read)
and the skill document. Together they give back the package, byte for byte. A tag is a version;
numbers count up and `latest` follows them. What a registry can't do is left to it: who may push,
and withdrawing a version (delete its tag there).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from tensafe.errors import MarketplaceError, UsageError, VerificationError
from tensafe.gate.load_records import LoadPolicy
from tensafe.marketplace.oci_registry import Blob, NotAPackageError, NotThereError, OciRegistry
from tensafe.marketplace.places import SignWith
from tensafe.marketplace.records import (
    Listing,
    Published,
    Query,
    is_match,
    listed_name,
    listing_of,
    relevance,
)
from tensafe.tgsp.manifest import Manifest, parse_manifest
from tensafe.tgsp.reader import MAGIC, MAX_MANIFEST_BYTES, PREAMBLE_BYTES, open_package
from tensafe.tgsp.reader import package_digest as digest_of_package
from tensafe.tgsp.skill_doc import MAX_SKILL_DOC_BYTES
from tensafe.tgsp.text import one_line
from tensafe.tgsp.verification import Verification

ARTIFACT = "application/vnd.tensafe.tgsp.v1"
MANIFEST_LAYER = "application/vnd.tensafe.tgsp.manifest.v1+json"
PAYLOAD_LAYER = "application/vnd.tensafe.tgsp.payload.v1.safetensors"
SKILL_LAYER = "application/vnd.tensafe.tgsp.skill.v1+markdown"
EMPTY = "application/vnd.oci.empty.v1+json"
PACKAGE_DIGEST = "org.tensafe.tgsp.package-digest"
TITLE, CREATED = "org.opencontainers.image.title", "org.opencontainers.image.created"
LICENSES = "org.opencontainers.image.licenses"
LATEST = "latest"
_REPOSITORY = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAMES = re.compile(rf"{_REPOSITORY}(?:/{_REPOSITORY})*")
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_PLACE = re.compile(
    rf"oci://(?P<host>[A-Za-z0-9.-]+(?::[0-9]+)?|\[[0-9a-f:]+\](?::[0-9]+)?)"
    rf"(?:/(?P<repository>{_REPOSITORY}(?:/{_REPOSITORY})*)"
    rf"(?::(?P<tag>{_TAG})|@(?P<digest>sha256:[0-9a-f]{{64}}))?)?/?"
)
_REFERENCE = re.compile(rf"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)(?:@(?P<tag>{_TAG}))?")
_PACKAGE = re.compile(r"(?:sha256:)?(?P<digest>[0-9a-f]{64})")


class _Layers(NamedTuple):
    """The artifact's layers; `skill` is None for packages without a skill document."""

    manifest: Blob
    payload: Blob
    skill: Blob | None


@dataclass(frozen=True)
class _Artifact:
    repository: str
    layers: _Layers
    manifest_bytes: bytes
    manifest: Manifest
    listing: Listing


class OciMarketplace:
    """`oci://HOST/REPOSITORY[:TAG]`, or a whole registry, where a package's name is its repository.

    Raises:
        UsageError: the URL can't be read.
    """

    def __init__(self, url: str, registry: OciRegistry | None = None) -> None:
        found = _PLACE.fullmatch(url)
        if found is None:
            raise UsageError(
                f"{one_line(url)[:200]!r} is not an OCI place: write oci://HOST/REPOSITORY[:TAG]"
            )
        self._url = url.rstrip("/")
        self._repository: str | None = found["repository"]
        self._tag: str | None = found["tag"] or found["digest"]
        self._registry = registry or OciRegistry(found["host"])

    @property
    def url(self) -> str:
        """As it was given."""
        return self._url

    def publish(self, package: Path, verified: Verification, sign_with: SignWith) -> Published:
        """Push the three layers, then the manifest under the next number and `latest`.

        Raises:
            MarketplaceError: a tag that would be moved holds another creator's package, something
                else than a package, or a number; or the registry doesn't answer.
        """
        manifest = verified.require(trusted=False)
        name = listed_name(manifest)
        repository = self._repository or name
        digest = digest_of_package(package)
        if self._tag is not None and self._tag.startswith("sha256:"):
            raise UsageError("publish to a tag or to none, not to a digest")
        tags = self._tags(repository)
        there = list(self._all(repository, tags))
        moved = self._standing(repository, self._tag or LATEST)
        fingerprint = manifest.view.creator.public_key_fingerprint
        if any(known.listing.fingerprint != fingerprint for known in [*there[-1:], *moved]):
            raise MarketplaceError(
                f"{self.url}: what stands in {repository} is signed with another key; publish to "
                "a repository of your own"
            )
        for known in there if self._tag is None else moved:
            if known.listing.package_digest == digest:
                return Published(known.listing, self.url, is_new=False)
        if moved and self._tag is not None and self._tag.isdigit():
            raise MarketplaceError(
                f"{self.url}: version {self._tag} stands there, and versions never change; leave "
                "the tag out for the next number"
            )
        # Of all tags, also those that hold something else: a number is never used twice.
        version = self._tag or str(1 + max((int(t) for t in tags if t.isdigit()), default=0))
        body = self._push(repository, package, manifest, digest)
        for tag in dict.fromkeys((version, version if self._tag else LATEST)):
            self._registry.put_manifest(repository, tag, body)
        return Published(self._load(repository, version).listing, self.url)

    def search(self, query: Query) -> list[Listing]:
        """The latest version of each package that matches; asks for every repository's manifest."""
        repositories = [self._repository] if self._repository else self._repositories()
        found: list[tuple[int, Listing]] = []
        for repository in repositories:
            shown = list(self._all(repository))
            if not shown:
                continue
            listing, skill_doc = shown[-1].listing, shown[-1].manifest.view.skill_doc or ""
            if is_match(listing, skill_doc, query):
                found.append((relevance(listing, skill_doc, query), listing))
        found.sort(key=lambda hit: (-hit[0], hit[1].name))
        if query.order == "newest":
            found.sort(key=lambda hit: hit[1].published, reverse=True)
        elif query.order == "score":
            found.sort(key=lambda hit: hit[1].score or -1.0, reverse=True)
        return [listing for _, listing in found[query.offset : query.offset + query.limit]]

    def find(self, reference: str) -> Listing:
        """The artifact at a tag, checked as far as it goes without its payload."""
        return self._find(reference).listing

    def skill_doc(self, listing: Listing) -> str:
        """From the manifest."""
        return self._find(self._reference(listing)).manifest.view.skill_doc or ""

    def fetch(self, listing: Listing, target: Path) -> None:
        """Put the package together from its layers."""
        artifact = self._find(self._reference(listing))
        if artifact.listing.package_digest != listing.package_digest:
            raise MarketplaceError(f"{self.url}: {listing.version} was moved to another package")
        layers = artifact.layers
        if layers.skill is not None:
            text = b"".join(self._registry.blob(artifact.repository, layers.skill))
            if text != (artifact.manifest.view.skill_doc or "").encode():
                raise VerificationError("the skill document's layer is not what the manifest holds")
        elif artifact.manifest.view.skill_doc is not None:
            raise VerificationError("the manifest holds a skill document that has no layer")
        with target.open("r+b") as file:
            file.write(MAGIC + len(artifact.manifest_bytes).to_bytes(4, "little"))
            file.write(artifact.manifest_bytes)
            for chunk in self._registry.blob(artifact.repository, layers.payload):
                file.write(chunk)

    def yank(self, reference: str, reason: str, sign_with: SignWith) -> Listing:
        """Not a registry's to offer."""
        raise MarketplaceError(
            f"{self.url}: a registry can't withdraw a version; delete its tag with the registry's "
            "own tools"
        )

    def _reference(self, listing: Listing) -> str:
        return f"{listing.name}@{listing.version}"

    def _find(self, reference: str) -> _Artifact:
        if reference.startswith("oci://"):
            if reference.rstrip("/") != self._url or self._repository is None:
                raise UsageError(f"{reference!r} names no repository in {self.url}")
            return self._load(self._repository, self._tag or LATEST)
        if found := _PACKAGE.fullmatch(reference):
            if self._repository is None:
                raise UsageError(f"{self.url}: a digest needs a repository to look in")
            for artifact in self._all(self._repository):
                if artifact.listing.package_digest == found["digest"]:
                    return artifact
            raise MarketplaceError(f"{self.url} has no package {reference} to give")
        found = _REFERENCE.fullmatch(reference)
        if found is None:
            raise UsageError(
                f"{one_line(reference)[:100]!r} names no package: write NAME, NAME@TAG, "
                "sha256:DIGEST or oci://HOST/REPOSITORY:TAG"
            )
        tag = found["tag"] or self._tag or LATEST
        if tag.startswith("sha256-"):
            tag = tag.replace("-", ":", 1)
        artifact = self._load(self._repository or found["name"], tag)
        if artifact.listing.name != found["name"]:
            raise MarketplaceError(f"{self.url} holds {artifact.listing.name}, not {found['name']}")
        return artifact

    def _repositories(self) -> list[str]:
        return [name for name in self._registry.repositories() if _NAMES.fullmatch(name)]

    def _tags(self, repository: str) -> list[str]:
        """The tags that are spelt as tags are: they become parts of URLs and file names."""
        return [tag for tag in self._registry.tags(repository) if re.fullmatch(_TAG, tag)]

    def _standing(self, repository: str, tag: str) -> list[_Artifact]:
        """The package that a tag points at, if it points at anything.

        Raises:
            MarketplaceError: it points at something else, which a push would take out of reach.
        """
        try:
            return [self._load(repository, tag)]
        except NotThereError:
            return []
        except (NotAPackageError, VerificationError) as error:
            raise MarketplaceError(
                f"{error}; publish to a repository for packages alone, or name another tag"
            ) from error

    def _all(self, repository: str, tags: list[str] | None = None) -> Iterator[_Artifact]:
        """The packages of a repository: other tags by name, then numbers upwards, without latest.

        Tags that hold something else than a package are passed over.

        Raises:
            MarketplaceError: the registry doesn't answer, which is not the same.
        """
        tags = self._tags(repository) if tags is None else tags
        numbers = sorted((t for t in tags if t.isdigit()), key=int)
        others = sorted(t for t in tags if not t.isdigit() and t != LATEST)
        for tag in [*others, *numbers]:
            try:
                yield self._load(repository, tag)
            except (NotThereError, NotAPackageError, VerificationError):
                continue

    def _load(self, repository: str, reference: str) -> _Artifact:
        _, value = self._registry.manifest(repository, reference)
        where = f"{self._registry.host}/{repository}:{reference}"
        layers = _read_layers(value, where)
        raw = b"".join(self._registry.blob(repository, layers.manifest))
        manifest = parse_manifest(raw)
        if layers.payload.digest != f"sha256:{manifest.view.integrity.payload_hash}":
            raise VerificationError(f"{where}: the payload's layer is not the manifest's payload")
        notes = cast("dict[str, object]", value.get("annotations") or {})
        stated = _PACKAGE.fullmatch(str(notes.get(PACKAGE_DIGEST, "")))
        if stated is None:
            raise NotAPackageError(f"{where}: lacks the annotation {PACKAGE_DIGEST}")
        listing = listing_of(
            manifest,
            version=reference.replace(":", "-"),
            package_digest=stated["digest"],
            size_bytes=PREAMBLE_BYTES + layers.manifest.size + layers.payload.size,
            published=one_line(str(notes.get(CREATED, "")))[:64],
        )
        return _Artifact(repository, layers, raw, manifest, listing)

    def _push(self, repository: str, package: Path, manifest: Manifest, digest: str) -> bytes:
        """Upload config and layers; gives the OCI manifest, which is the same for each package."""
        with open_package(package) as opened, package.open("rb") as file:
            raw, start = opened.manifest_bytes, opened.size_bytes - len(opened.payload)
            skill = (manifest.view.skill_doc or "").encode()
            payload = Blob(
                PAYLOAD_LAYER,
                f"sha256:{manifest.view.integrity.payload_hash}",
                len(opened.payload),
            )
            config = self._put_bytes(repository, EMPTY, b"{}")
            layers = [self._put_bytes(repository, MANIFEST_LAYER, raw), payload]
            self._registry.put_blob(repository, payload, file, start)
            if manifest.view.skill_doc is not None:
                layers.append(self._put_bytes(repository, SKILL_LAYER, skill))
        view = manifest.view
        notes = {
            TITLE: listed_name(manifest),
            CREATED: one_line(view.created or ""),
            PACKAGE_DIGEST: f"sha256:{digest}",
        }
        value = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": ARTIFACT,
            "config": config.as_dict(),
            "layers": [layer.as_dict() for layer in layers],
            "annotations": {key: text for key, text in notes.items() if text},
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    def _put_bytes(self, repository: str, media_type: str, data: bytes) -> Blob:
        blob = Blob(media_type, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        self._registry.put_blob(repository, blob, io.BytesIO(data))
        return blob


def _read_layers(value: dict[str, Any], where: str) -> _Layers:
    """The three descriptors, of known kinds and bounded sizes.

    Raises:
        NotAPackageError: the manifest is not that of a package.
    """
    found: dict[str, Blob] = {}
    try:
        for layer in cast("list[dict[str, Any]]", value["layers"]):
            kind, digest, size = layer["mediaType"], layer["digest"], layer["size"]
            if not isinstance(size, int) or size < 0 or kind in found or "urls" in layer:
                raise ValueError("a layer stands twice, elsewhere, or has no size")
            if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is None:
                raise ValueError("a layer's digest is not SHA-256")
            found[kind] = Blob(kind, digest, size)
        layers = _Layers(found[MANIFEST_LAYER], found[PAYLOAD_LAYER], found.get(SKILL_LAYER))
        if len(found) != 2 + (layers.skill is not None):
            raise ValueError("there are layers of unknown kinds")
        if layers.manifest.size > MAX_MANIFEST_BYTES:
            raise ValueError(f"the manifest has more than {MAX_MANIFEST_BYTES} bytes")
        largest = LoadPolicy().max_payload_bytes
        if layers.payload.size > largest:
            raise ValueError(
                f"the payload has {layers.payload.size} bytes; the load gate lets {largest} in"
            )
        if layers.skill is not None and layers.skill.size > MAX_SKILL_DOC_BYTES:
            raise ValueError(f"the skill document has more than {MAX_SKILL_DOC_BYTES} bytes")
    except (KeyError, TypeError, ValueError) as error:
        raise NotAPackageError(f"{where} is not a package: {error}") from error
    return layers
