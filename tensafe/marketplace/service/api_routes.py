"""The HTTP interface under /api/v1: JSON in, JSON out, packages as streams."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Request
from fastapi import Query as QueryField
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from tensafe.errors import UsageError
from tensafe.marketplace.proof import SignedAction
from tensafe.marketplace.records import Listing, Query, Reference
from tensafe.marketplace.service.market import Market
from tensafe.marketplace.service.refusals import (
    NotFoundError,
    RefusedError,
    TooLargeError,
    TooManyError,
)
from tensafe.marketplace.service.versions import Stored, Upload
from tensafe.tgsp.text import one_line

_CHUNK_BYTES = 1 << 18
MAX_BODY_BYTES = 64 * 1024


def api_routes(market: Market) -> APIRouter:
    """All routes that programs use."""
    router = APIRouter(max_body_size=MAX_BODY_BYTES)
    _reading(router, market)
    _creators(router, market)
    _publishing(router, market)
    return router


def _reading(router: APIRouter, market: Market) -> None:
    @router.get("/info")
    def info() -> dict[str, object]:
        """What this marketplace is called, takes and demands."""
        return {
            "public_url": market.public_url,
            "registration": market.config.registration,
            "max_package_bytes": market.config.max_package_bytes,
            "bases": [
                {"name": base.name, "architecture": base.architecture, "digest": base.digest}
                for base in market.packages.bases.values()
            ],
        }

    @router.get("/packages")
    def search(asked: Annotated[Query, QueryField()]) -> dict[str, object]:
        """Search: every field of `Query` is a parameter."""
        found = market.catalogue.versions.search(asked)
        return {"total": found.total, "packages": [item.as_dict() for item in found.listings]}

    @router.get("/packages/{name}")
    def versions(name: str) -> dict[str, object]:
        """All versions of a package."""
        listed = market.catalogue.versions.of_package(name)
        if not listed:
            raise NotFoundError("there is no such package")
        return {"name": name, "versions": [item.as_dict() for item in listed]}

    @router.get("/versions/{reference}")
    def version(reference: str) -> dict[str, object]:
        """One version by NAME, NAME@VERSION or sha256:DIGEST, with its skill document."""
        stored = find(market, reference)
        return {
            "listing": stored.listing.as_dict(),
            "handle": stored.handle,
            "skill_doc": stored.skill_doc,
        }

    @router.get("/versions/{reference}/skill")
    def skill(reference: str) -> Response:
        """The skill document as text, never as a page."""
        return PlainTextResponse(find(market, reference).skill_doc)

    @router.get("/versions/{reference}/report")
    def report(reference: str) -> Response:
        """The load gate's report with which the version was let in."""
        return Response(find(market, reference).report, media_type="application/json")

    @router.get("/reports/{identity}")
    def rejection(identity: str) -> Response:
        """The load gate's report with which a package was kept out."""
        text = market.catalogue.versions.rejection(identity)
        return Response(text, media_type="application/json")

    @router.get("/versions/{reference}/package")
    def package(reference: str) -> Response:
        """The package itself; a complete download is counted."""
        return download(market, find(market, reference).listing)


def _creators(router: APIRouter, market: Market) -> None:
    creators, config = market.catalogue.creators, market.config

    @router.post("/challenges", status_code=201)
    def challenge() -> dict[str, object]:
        """A challenge to sign a request over."""
        given = creators.challenge(config.challenge_lifetime_s)
        return {
            "challenge": given,
            "audience": market.public_url,
            "expires_s": config.challenge_lifetime_s,
        }

    @router.post("/creators", status_code=201)
    def register(signed: SignedAction) -> dict[str, object]:
        """Register a key and a handle."""
        return asdict(
            creators.register(signed, market.audiences, is_open=config.registration == "open")
        )

    @router.get("/creators/{handle}")
    def creator(handle: str) -> dict[str, object]:
        """Who a handle is, with all keys."""
        return asdict(creators.get(handle))

    @router.post("/creators/keys", status_code=201)
    def add_key(signed: SignedAction) -> dict[str, object]:
        """Another key for who signed."""
        return asdict(creators.add_key(signed, market.audiences))

    @router.post("/creators/keys/revoke")
    def revoke_key(signed: SignedAction) -> dict[str, object]:
        """Never take a key of who signed again."""
        return asdict(creators.revoke_key(signed, market.audiences))


def _publishing(router: APIRouter, market: Market) -> None:
    slots = asyncio.Semaphore(market.config.uploads_at_once)
    # Under way, by creator: who sends slowly must not keep the others out.
    sending: Counter[str] = Counter()

    @router.post("/uploads")
    def begin(signed: SignedAction) -> Response:
        """Promise a package, proving one's key; answers where to send it, or that it is there."""
        market.catalogue.creators.require(signed, "upload", market.audiences)
        digest, size = _promise(signed, market.config.max_package_bytes)
        try:
            there = market.catalogue.versions.find(Reference(digest=digest))
            return JSONResponse({"listing": there.listing.as_dict(), "is_new": False})
        except NotFoundError:
            pass
        identity = market.catalogue.versions.promise(
            signed.fingerprint, digest, size, per_day=market.config.uploads_per_day
        )
        return JSONResponse({"upload": identity}, status_code=201)

    @router.put(
        "/uploads/{identity}", status_code=201, max_body_size=market.config.max_package_bytes
    )
    async def send(identity: str, request: Request) -> dict[str, object]:
        """Send a promised package's bytes; answers when it was judged and listed."""
        config = market.config
        if slots.locked():
            raise TooManyError("others are uploading: publish again in a minute")
        async with slots:
            promised = await run_in_threadpool(
                market.catalogue.versions.take_upload, identity, config.upload_timeout_s
            )
            if sending[promised.handle] >= config.uploads_at_once_per_creator:
                raise TooManyError("you are uploading already: publish again when that is done")
            sending[promised.handle] += 1
            try:
                listing = await _received(market, promised, request)
            finally:
                sending[promised.handle] -= 1
        return {"listing": listing.as_dict(), "is_new": True}

    @router.post("/yanks")
    def yank(signed: SignedAction) -> dict[str, object]:
        """Withdraw a version."""
        handle = market.catalogue.creators.require(signed, "yank", market.audiences)
        reason = one_line(signed.fields.get("reason", ""))[:500] or "no reason given"
        wanted = reference_of(signed.fields.get("reference", ""))
        return {"listing": market.catalogue.versions.yank(wanted, handle, reason).as_dict()}


async def _received(market: Market, promised: Upload, request: Request) -> Listing:
    limit_s = market.config.upload_timeout_s
    with market.packages.arrival(promised) as arrival:
        try:
            async with asyncio.timeout(limit_s):
                async for chunk in request.stream():
                    arrival.write(chunk)
        except TimeoutError as error:
            raise RefusedError(f"not there in {limit_s:.0f} s") from error
        await run_in_threadpool(arrival.finish)
        return await run_in_threadpool(market.packages.admit, arrival)


def reference_of(text: str) -> Reference:
    """A reference from a path or field.

    Raises:
        NotFoundError: it can't be one.
    """
    try:
        return Reference.parse(text)
    except UsageError as error:
        raise NotFoundError(str(error)) from error


def find(market: Market, reference: str) -> Stored:
    """The version that a path names."""
    return market.catalogue.versions.find(reference_of(reference))


def download(market: Market, listing: Listing) -> Response:
    """The package as an attachment, counted when its last byte was taken."""
    file = market.packages.open(listing.package_digest)
    return StreamingResponse(
        _body(market, listing, file),
        media_type="application/octet-stream",
        headers={
            "content-length": str(listing.size_bytes),
            "content-disposition": (
                f'attachment; filename="{listing.name}-{listing.version}.tgsp"'
            ),
            "etag": f'"sha256:{listing.package_digest}"',
            "cache-control": "public, max-age=31536000, immutable",
        },
    )


async def _body(market: Market, listing: Listing, file: BinaryIO) -> AsyncGenerator[bytes]:
    try:
        while chunk := await run_in_threadpool(file.read, _CHUNK_BYTES):
            yield chunk
    finally:
        file.close()
    # Reached only when the last chunk was handed over: a broken download isn't one.
    await run_in_threadpool(market.catalogue.versions.count_download, listing.package_digest)


def _promise(signed: SignedAction, limit: int) -> tuple[str, int]:
    digest, size = signed.fields.get("package_digest", ""), signed.fields.get("size_bytes", "")
    wanted = reference_of(digest).digest
    if wanted is None or not size.isascii() or not size.isdigit() or len(size) > 15:
        raise RefusedError("an upload names package_digest and size_bytes")
    if int(size) > limit:
        raise TooLargeError(f"the package has {size} bytes, at most {limit} are taken here")
    return wanted, int(size)


def problem(error: ValidationError | Any) -> str:
    """The first fault of a request, in one line."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    return one_line(f"{place}: {fault['msg']}")[:300]


def refusal_body(error: RefusedError) -> dict[str, object]:
    """What a refused client gets."""
    body: dict[str, object] = {"error": str(error), "category": error.category}
    report = getattr(error, "report", None)
    if isinstance(report, str):
        body["report"] = json.loads(report)
    return body
