"""The marketplace: an OCI registry, the service on two databases, and its page in a browser.

One adapter is trained on `nano`; every package here carries it under another name. The registry is
Debian's `docker-registry`, the second database a PostgreSQL cluster started for this, the browser
Chromium. Each database goes through the same steps, and has to give the same.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from evidence._gate_cases import bad_cases
from evidence._market_browser import use_marketplace
from evidence._market_packages import TrainedPackage, attacking, trained_package, variant
from evidence._oci_registry import running_registry
from evidence._postgres_cluster import running_cluster
from evidence._report import conclude
from tensafe.errors import (
    GateRefusedError,
    MarketplaceError,
    TensafeError,
    VerificationError,
)
from tensafe.marketplace import publish, pull, search, yank
from tensafe.marketplace.service import MarketConfig, MarketHost
from tensafe.tgsp import Identity, KeyPair, trust_path
from tensafe.tgsp.trust import trust

REJECTED_STEPS = ("lora_config", "base", "rvu_v2")
SEARCHES = {
    "which team handles a customer's message": "support-routing",
    "totals of invoices": "invoice-totals",
    "greeting somebody": "hostile",
}


def main() -> None:
    """Run the parts; the claim holds if all of them come out right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="keep the browser's pictures here")
    pictures: Path | None = parser.parse_args().pictures
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TENSAFE_HOME"] = str(folder / "home")
        os.environ.pop("TENSAFE_MARKETPLACE", None)
        ada = KeyPair.generate(Identity("Ada", "ada@example.org", "Example Cooperative"))
        trust(trust_path(), ada.public)
        trained = trained_package(folder)
        print(f"trained and packed in {time.monotonic() - started:.0f} s", flush=True)
        registry = in_a_registry(folder, trained, ada)
        print(f"registry    {registry}", flush=True)
        sqlite, page = in_a_service(folder, "sqlite", None, trained, ada, pictures)
        print(f"sqlite      {sqlite}", flush=True)
        with running_cluster() as url:
            postgresql, _ = in_a_service(folder, "postgresql", url, trained, ada)
        print(f"postgresql  {postgresql}", flush=True)
    holds = all(registry.values()) and all(sqlite.values()) and sqlite == postgresql
    figures = {
        "registry": registry,
        "service": sqlite,
        "same_on_postgresql": sqlite == postgresql,
        "page": page,
        "seconds": round(time.monotonic() - started),
    }
    conclude("marketplace", figures, holds=holds and bool(page.get("is_right")))


def in_a_registry(folder: Path, trained: TrainedPackage, ada: KeyPair) -> dict[str, bool]:
    """Push, pull, and pull what somebody changed in the registry's own files."""
    package = written(folder / "oci.tgsp", variant(trained.data, ada, "sorter"))
    came = folder / "oci-came.tgsp"
    with running_registry() as (host, data):
        place = f"oci://{host}/team/sorter"
        listing = publish(package, place).listing
        pulled = pull(f"{place}:1", came, trusted=True)
        done = {
            "pushed_as_three_layers": len(layers(host, "team/sorter")) == 3,
            "pulled_the_same": came.read_bytes() == package.read_bytes(),
            "trusted": pulled.verification.is_trusted,
            "found": [hit.name for hit in search("sorts", f"oci://{host}")] == ["sorter"],
        }
        came.unlink()
        digest = listing.adapter_digest
        blob = data / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
        content = blob.read_bytes()
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        done["changed_blob_refused"] = refused(
            lambda: pull(f"{place}:1", came), VerificationError, "gave other bytes than"
        )
        done["nothing_left_behind"] = not came.exists()
        blob.write_bytes(content)
        done["taken_again_when_mended"] = pull(f"{place}:1", came).verification.is_trusted
    return done


def layers(host: str, repository: str) -> list[object]:
    """The layers that the registry itself tells of."""
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    answer = httpx.get(f"http://{host}/v2/{repository}/manifests/1", headers=accept, timeout=120)
    return answer.json()["layers"]


def in_a_service(
    folder: Path,
    name: str,
    database: str | None,
    trained: TrainedPackage,
    ada: KeyPair,
    pictures: Path | None = None,
) -> tuple[dict[str, bool], dict[str, object]]:
    """The same steps on a database; on SQLite the page as well."""
    home = folder / name
    home.mkdir()
    eve = KeyPair.generate(Identity("Eve", "eve@example.org"))
    config = MarketConfig(folder=home / "market", database_url=database)
    with MarketHost(config, [trained.base]) as host:
        done = published(home, host.url, trained, ada)
        done |= kept_out(home, host.url, trained, ada, eve)
        done |= lived(home, host.url, trained, ada)
        page: dict[str, object] = {}
        if database is None:
            with contextlib.ExitStack() as stack:
                kept = pictures or Path(stack.enter_context(tempfile.TemporaryDirectory()))
                shown = use_marketplace(host.url, kept)
            page = {
                **shown.steps,
                "scripts_run": shown.scripts_run,
                "dialogs": shown.dialogs,
                "outside_requests": shown.outside_requests,
                "control_attack_works": shown.control_works,
                "is_right": shown.is_right,
            }
            print(f"page        {page}", flush=True)
    return done, page


def published(home: Path, url: str, trained: TrainedPackage, ada: KeyPair) -> dict[str, bool]:
    """Three packages in, found by what they do, and out again."""
    made = [
        variant(
            trained.data, ada, "support-routing", domain="customer support", score=0.91,
            description="Names the team that handles a customer's message.", epsilon=3.5,
            licence="Apache-2.0", body=ROUTING,
        ),
        variant(
            trained.data, ada, "invoice-totals", domain="finance", score=0.84,
            description="Reads the total from an invoice's text.", licence="MIT",
        ),
        attacking(trained.data, ada),
    ]  # fmt: skip
    for place, data in enumerate(made):
        publish(written(home / f"{place}.tgsp", data), url, signer=ada)
    again = publish(home / "0.tgsp", url, signer=ada)
    came = pull("support-routing", home / "came.tgsp", url)
    hits = {words: [hit.name for hit in search(words, url)][:1] for words in SEARCHES}
    filtered = search("", url, max_epsilon=4, domain="customer support", base="nano")
    return {
        "published_once": not again.is_new,
        "searches_find": hits == {words: [name] for words, name in SEARCHES.items()},
        "filters_find": [hit.name for hit in filtered] == ["support-routing"],
        "pulled_the_same": (home / "came.tgsp").read_bytes() == made[0],
        "trusted": came.verification.is_trusted,
        "download_counted": search("team", url)[0].downloads == 1,
    }


def kept_out(
    home: Path, url: str, trained: TrainedPackage, ada: KeyPair, eve: KeyPair
) -> dict[str, bool]:
    """Bad packages with their reports, and another key under a name that is taken."""
    cases = [case for case in bad_cases() if case.step in REJECTED_STEPS][::3]
    rejected = right = 0
    for case in cases:
        good = variant(trained.data, ada, "never")
        path = written(home / "bad.tgsp", case.make(good, ada))
        try:
            publish(path, url, signer=ada)
        except GateRefusedError as error:
            rejected += 1
            report = httpx.get(
                f"{url}/api/v1/reports/{str(error).rsplit(' ', 1)[1]}", timeout=120
            ).json()
            failed = {step["name"] for step in report["steps"] if not step["passed"]}
            right += case.step in failed
    print(f"            {rejected} of {len(cases)} bad packages kept out, {right} rightly")
    theirs = written(home / "theirs.tgsp", variant(trained.data, eve, "support-routing"))
    untrusted = written(home / "eve.tgsp", variant(trained.data, eve, "eves-own"))
    publish(untrusted, url, signer=eve)
    return {
        "bad_packages_kept_out": rejected == right == len(cases) > 0,
        "none_listed": not [hit for hit in search("", url) if hit.name == "never"],
        "name_stays_its_owners": refused(
            lambda: publish(theirs, url, signer=eve), MarketplaceError, "belongs to ada"
        ),
        "untrusted_not_kept": refused(
            lambda: pull("eves-own", home / "eves.tgsp", url),
            VerificationError,
            "not in your trust store",
        )
        and not (home / "eves.tgsp").exists(),
    }


def lived(home: Path, url: str, trained: TrainedPackage, ada: KeyPair) -> dict[str, bool]:
    """A second version, withdrawn again."""
    second = variant(trained.data, ada, "invoice-totals", domain="finance", score=0.6)
    version = publish(written(home / "second.tgsp", second), url, signer=ada).listing.version
    yank("invoice-totals@2", "reads the wrong line", url, signer=ada)
    latest = pull("invoice-totals", home / "latest.tgsp", url).listing.version
    return {
        "versions_count_up": version == "2",
        "withdrawn_not_given": latest == "1"
        and refused(
            lambda: pull("invoice-totals@2", home / "no.tgsp", url),
            MarketplaceError,
            "was withdrawn: reads the wrong line",
        ),
    }


def written(path: Path, data: bytes) -> Path:
    """The data in a file."""
    path.write_bytes(data)
    return path


def refused(act: Callable[[], object], kind: type[TensafeError], why: str) -> bool:
    """Whether it ends in this error, for this reason and no other."""
    try:
        act()
    except kind as error:
        print(f"            refused: {str(error).splitlines()[0][:140]}")
        return why in str(error)
    return False


ROUTING = """# Support routing

Names the team that should handle a customer's message: billing, shipping, returns or technical.

## When to use

- A message has just arrived and somebody has to be told.
- The message is in English and shorter than a page.

## Input and output

| Input | Output |
|---|---|
| "My parcel never came." | `shipping` |
| "You charged me twice." | `billing` |

## Limits

It names one team even if a message is about **two things**, and it has never seen legal threats.
"""


if __name__ == "__main__":
    main()
