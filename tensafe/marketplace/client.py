"""A marketplace service from the client's side, over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx

from tensafe.errors import (
    DataError,
    GateRefusedError,
    KeyStoreError,
    MarketplaceError,
    UsageError,
    VerificationError,
)
from tensafe.gate.load_records import LoadPolicy
from tensafe.marketplace.answers import opened, raw_chunks, read_bounded
from tensafe.marketplace.places import SignWith
from tensafe.marketplace.proof import Action, SignedAction, sign_action
from tensafe.marketplace.records import (
    Listing,
    Published,
    Query,
    Reference,
    listed_name,
    read_listing,
)
from tensafe.tgsp.keys import KeyPair, public_key_document
from tensafe.tgsp.reader import package_digest
from tensafe.tgsp.skill_doc import MAX_SKILL_DOC_BYTES
from tensafe.tgsp.text import one_line, visible
from tensafe.tgsp.verification import Verification

_CHUNK_BYTES = 1 << 20
_MAX_ANSWER_BYTES = 8 << 20
# A service that is asked too often says for how many seconds to wait.
_MOST_WAITS, _LONGEST_WAIT_S = 4, 65
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# The answer to an upload comes when the gate has judged it.
_UPLOAD_TIMEOUT = httpx.Timeout(60.0, connect=10.0, read=900.0)


@dataclass(frozen=True)
class Registered:
    """A creator as the service knows them."""

    handle: str
    fingerprint: str


class ServiceMarketplace:
    """The service at an http(s) URL."""

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self._url = url.rstrip("/")
        self._client = client or httpx.Client(timeout=_TIMEOUT)

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return self._url

    def publish(self, package: Path, verified: Verification, sign_with: SignWith) -> Published:
        """Prove the key, send the package, wait for the gate's word.

        A key that the service doesn't know is registered under its owner's name first.
        """
        manifest = verified.require(trusted=False)
        listed_name(manifest)
        digest, size = package_digest(package), package.stat().st_size
        signer = sign_with(manifest.view.creator.public_key_fingerprint)
        fields = {"package_digest": digest, "size_bytes": str(size)}
        begun = self._signed("upload", signer, "/uploads", **fields, tolerated="unknown_key")
        if begun is None:
            self.register(signer)
            begun = self._signed("upload", signer, "/uploads", **fields)
        assert begun is not None
        if "upload" not in begun:
            return Published(self._listing(begun), self.url, is_new=False)
        answer = self._send(package, size, str(begun["upload"]))
        return Published(self._listing(answer), self.url)

    def register(self, signer: KeyPair, handle: str = "") -> Registered:
        """Register a key under a handle (default: made of its owner's name).

        Raises:
            MarketplaceError: the handle is taken, or registration is closed.
        """
        document = public_key_document(signer).decode("ascii")
        answer = self._signed("register", signer, "/creators", public_key=document, handle=handle)
        assert answer is not None
        return Registered(one_line(str(answer.get("handle"))), signer.public.fingerprint)

    def add_key(self, signer: KeyPair, another: KeyPair) -> Registered:
        """Let another key publish for the same creator; both keys sign, over one challenge."""
        document, challenge = public_key_document(another).decode("ascii"), self._challenge()
        consent = sign_action(
            another, "join", audience=self.url, challenge=challenge, joins=signer.public.fingerprint
        )
        answer = self._signed(
            "add-key",
            signer,
            "/creators/keys",
            challenge=challenge,
            public_key=document,
            consent=consent.model_dump_json(),
        )
        assert answer is not None
        return Registered(one_line(str(answer.get("handle"))), another.public.fingerprint)

    def revoke_key(self, signer: KeyPair, fingerprint: str, reason: str) -> None:
        """Never let a key of the same creator publish again; it may be the signer's own."""
        self._signed("revoke-key", signer, "/creators/keys/revoke", key=fingerprint, reason=reason)

    def search(self, query: Query) -> list[Listing]:
        """What the service answers, its texts made plain."""
        asked = query.model_dump(exclude_none=True)
        answer = self._json("GET", "/packages", params=asked)
        found = answer.get("packages")
        if not isinstance(found, list):
            raise MarketplaceError(f"{self.url}: no marketplace answers there")
        return [self._read(value) for value in cast("list[object]", found)]

    def find(self, reference: str) -> Listing:
        """The named version.

        Raises:
            VerificationError: the service answers with another package than was asked for.
        """
        wanted, listing = Reference.parse(reference), self._listing(self._version(reference))
        if not wanted.is_answered_by(listing):
            raise VerificationError(
                f"{self.url} was asked for {wanted} and answers with {listing.name}@"
                f"{listing.version} (sha256:{listing.package_digest})"
            )
        return listing

    def skill_doc(self, listing: Listing) -> str:
        """As the service states it, hidden characters spelt out."""
        text = str(self._version(f"sha256:{listing.package_digest}").get("skill_doc", ""))
        return visible(text[:MAX_SKILL_DOC_BYTES])

    def fetch(self, listing: Listing, target: Path) -> None:
        """Stream the package to the file, unless it is larger than any that a load gate lets in."""
        largest = LoadPolicy().max_payload_bytes
        if listing.size_bytes > largest:
            raise MarketplaceError(
                f"{self.url} lists {listing.name} with {listing.size_bytes} bytes; the load gate "
                f"lets {largest} in"
            )
        path = f"{self._url}/api/v1/versions/sha256:{listing.package_digest}/package"
        size = 0
        try:
            with (
                opened(self._client, self._client.build_request("GET", path)) as answer,
                target.open("r+b") as file,
            ):
                if answer.status_code != 200:
                    raise self._fault(self._whole(answer))
                for chunk in raw_chunks(answer, self.url):
                    size += len(chunk)
                    if size > listing.size_bytes:
                        raise MarketplaceError(
                            f"{self.url} sends more than the {listing.size_bytes} bytes it lists"
                        )
                    file.write(chunk)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def yank(self, reference: str, reason: str, sign_with: SignWith) -> Listing:
        """Withdraw a version, signed by the key that signed it or another of its creator's."""
        listing = self.find(reference)
        wanted = f"sha256:{listing.package_digest}"
        signer = self._key_for(listing, wanted, sign_with)
        answer = self._signed("yank", signer, "/yanks", reference=wanted, reason=reason)
        assert answer is not None
        return self._listing(answer)

    def _key_for(self, listing: Listing, reference: str, sign_with: SignWith) -> KeyPair:
        """The key that signed a version, else any that its creator may use here."""
        handle = str(self._version(reference).get("handle", ""))
        told = self._json("GET", f"/creators/{quote(handle, safe='')}").get("keys")
        keys = dict(cast("list[tuple[str, str | None]]", told if isinstance(told, list) else []))
        usable = [one for one, revoked in keys.items() if revoked is None]
        # The one that signed comes first, and is what a refusal names.
        first = KeyStoreError(f"{self.url} takes no key of {handle or 'its creator'} any more")
        for place, fingerprint in enumerate(sorted(usable, key=lambda k: k != listing.fingerprint)):
            try:
                return sign_with(str(fingerprint))
            except KeyStoreError as error:
                first = error if place == 0 else first
        raise first

    def _version(self, reference: str) -> dict[str, Any]:
        wanted = str(Reference.parse(reference))
        return self._json("GET", f"/versions/{quote(wanted, safe='@:')}")

    def _signed(
        self,
        action: Action,
        signer: KeyPair,
        path: str,
        *,
        tolerated: str = "",
        challenge: str | None = None,
        **fields: str,
    ) -> dict[str, Any] | None:
        """A request signed over a challenge (a fresh one); None when refused for `tolerated`."""
        signed: SignedAction = sign_action(
            signer,
            action,
            audience=self.url,
            challenge=self._challenge() if challenge is None else challenge,
            **fields,
        )
        return self._json("POST", path, json=signed.model_dump(), tolerated=tolerated)

    def _challenge(self) -> str:
        """A fresh challenge of the service that calls itself what this client does."""
        given = self._json("POST", "/challenges")
        named = one_line(str(given.get("audience", "")))[:300]
        if named != self.url:
            raise UsageError(
                f"{self.url} calls itself {named!r}, and a proof is made out to one name: give "
                "that as --marketplace if it is where you want to publish"
            )
        return str(given.get("challenge", ""))[:128]

    def _send(self, package: Path, size: int, upload: str) -> dict[str, Any]:
        def chunks() -> Iterator[bytes]:
            with package.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

        answer = self._json(
            "PUT",
            f"/uploads/{quote(upload, safe='')}",
            content=chunks,
            headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"},
            timeout=_UPLOAD_TIMEOUT,
        )
        assert answer is not None
        return answer

    def _json(self, method: str, path: str, *, tolerated: str = "", **request: Any) -> Any:
        whole = self._answer(method, path, **request)
        for _ in range(_MOST_WAITS):
            # The service says when to come again.
            wait_s = whole.headers.get("Retry-After", "")
            is_busy = whole.status_code == 429 and wait_s.isdigit()
            if not is_busy or int(wait_s) > _LONGEST_WAIT_S:
                break
            time.sleep(int(wait_s))
            whole = self._answer(method, path, **request)
        if not whole.is_success:
            fault = _object(whole)
            if tolerated and fault.get("category") == tolerated:
                return None
            raise self._fault(whole)
        value = _object(whole)
        if not value:
            raise MarketplaceError(f"{self.url}: no marketplace answers there")
        return value

    def _answer(
        self,
        method: str,
        path: str,
        content: Callable[[], Iterator[bytes]] | None = None,
        **request: Any,
    ) -> httpx.Response:
        """One request, its answer read within bounds; `content` gives the body anew each time."""
        body = {} if content is None else {"content": content()}
        url = f"{self._url}/api/v1{path}"
        try:
            built = self._client.build_request(method, url, **body, **request)
            with opened(self._client, built) as answer:
                return self._whole(answer)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _whole(self, answer: httpx.Response) -> httpx.Response:
        """An answer whose body is still to be read, read within bounds."""
        content = read_bounded(answer, _MAX_ANSWER_BYTES, self.url)
        wait = {k: v for k, v in answer.headers.items() if k.lower() == "retry-after"}
        return httpx.Response(
            answer.status_code, content=content, request=answer.request, headers=wait
        )

    def _fault(self, answer: httpx.Response) -> MarketplaceError | GateRefusedError | UsageError:
        body = _object(answer)
        lines = str(body.get("error", f"HTTP {answer.status_code}")).split("\n")[:20]
        told = "\n".join(f"  {one_line(line)[:400]}" for line in lines).strip()
        message = f"{self.url}: {told}"
        if body.get("category") == "rejected":
            return GateRefusedError(message)
        return MarketplaceError(message)

    def _unreachable(self, error: httpx.HTTPError) -> MarketplaceError:
        return MarketplaceError(
            f"the marketplace {self.url} can't be reached: {error or type(error).__name__}"
        )

    def _listing(self, answer: dict[str, Any]) -> Listing:
        return self._read(answer.get("listing"))

    def _read(self, value: object) -> Listing:
        try:
            return read_listing(value)
        except DataError as error:
            raise MarketplaceError(f"{self.url}: {error}") from error


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = json.loads(answer.content)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
