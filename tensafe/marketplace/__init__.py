"""Marketplaces: places where people and agents publish adapters, find and judge them, get them.

    from tensafe.marketplace import publish, pull, search

    publish("support-routing.tgsp")
    for listing in search("which team handles a message", min_score=0.8):
        print(listing.name, listing.score, listing.description)
    package = pull("support-routing").path

A marketplace is a folder (the default), an OCI registry (`oci://HOST/REPOSITORY`) or a service
(`https://…`, see `tensafe marketplace serve`). Pulling verifies hashes and both signatures, and
keeps nothing of a package whose creator isn't in the trust store, unless told otherwise.
"""

from __future__ import annotations

from tensafe.marketplace.exchange import publish, pull, search, yank
from tensafe.marketplace.places import Marketplace, open_marketplace
from tensafe.marketplace.records import Listing, Published, Pulled, Query, Reference

__all__ = [
    "Listing",
    "Marketplace",
    "Published",
    "Pulled",
    "Query",
    "Reference",
    "open_marketplace",
    "publish",
    "pull",
    "search",
    "yank",
]
