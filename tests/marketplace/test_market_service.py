"""The marketplace service, on SQLite and on PostgreSQL: what it lists, and what it keeps out."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from market_packages import OPERATOR, Shelf, stranger
from market_service import HTTP, ask, new_challenge, serving
from sqlalchemy import create_engine, text

from evidence._gate_cases import bad_cases
from evidence._market_packages import attacking
from evidence._postgres_cluster import NoPostgresError, running_cluster
from tensafe.cli import main
from tensafe.errors import (
    GateRefusedError,
    KeyStoreError,
    MarketplaceError,
    UsageError,
    VerificationError,
)
from tensafe.marketplace import publish, pull, search, yank
from tensafe.marketplace.client import ServiceMarketplace
from tensafe.marketplace.proof import sign_action
from tensafe.marketplace.service.host import MarketHost
from tensafe.marketplace.service.skill_page import skill_html
from tensafe.tgsp import KeyPair, KeyStore, package_digest
from tensafe.tgsp.keys import public_key_document


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'aragora[postgres]'")
    try:
        with running_cluster() as url:
            yield url
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def host(
    request: pytest.FixtureRequest, shelf: Shelf, home: Path, tmp_path: Path
) -> Iterator[MarketHost]:
    """A service with an empty catalogue."""
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("cluster").replace("postgresql:", "postgresql+psycopg:")
        name = f"market_{uuid.uuid4().hex}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = server.replace("/postgres?", f"/{name}?")
    with serving(tmp_path / "market", shelf.base, database_url=url) as running:
        yield running


def test_published_searched_pulled_and_withdrawn(
    host: MarketHost, shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    url = host.url
    package = shelf.put(
        tmp_path, "support-routing", ada, description="Names the team that handles a message.",
        domain="Customer support", score=0.91, epsilon=3.5, licence="Apache-2.0",
    )  # fmt: skip
    done = publish(package, url, signer=ada)
    assert (done.is_new, done.listing.version) == (True, "1")
    assert publish(package, url, signer=ada).is_new is False
    publish(
        shelf.put(
            tmp_path, "invoices", ada, description="Reads totals.", score=0.7,
            body="# Invoices\n\nGive it the text of an invoice; it answers the total, 2 teams.\n",
        ),
        url,
        signer=ada,
    )  # fmt: skip
    eve = stranger("Éve")
    publish(shelf.put(tmp_path, "greetings", eve, description="Greets."), url, signer=eve)

    def names(words: str = "", **fields: object) -> list[str]:
        return [hit.name for hit in search(words, url, **fields)]  # pyright: ignore[reportArgumentType]

    assert names("which team is handling this message") == ["support-routing", "invoices"]
    assert names("the total of an invoice") == ["invoices"]
    assert sorted(names()) == ["greetings", "invoices", "support-routing"]
    assert names(domain="customer SUPPORT") == ["support-routing"]
    assert names(licence="apache-2.0", base="nano") == ["support-routing"]
    assert names(max_epsilon=4) == ["support-routing"]
    assert names(min_score=0.95) == []
    assert names(creator="eve") == ["greetings"]
    assert names(order="score")[0] == "support-routing"
    assert names("'; DROP TABLE versions; -- \" ) OR") == []
    for word in ("\x00", "%", "NEAR(a b)", "a" * 900, "&|!:*"):
        names(word)
    got = pull("support-routing", tmp_path / "got.tgsp", url)
    assert got.verification.is_trusted
    assert (tmp_path / "got.tgsp").read_bytes() == package.read_bytes()
    assert search("team", url, order="downloads")[0].downloads == 1
    second = shelf.put(tmp_path, "support-routing", ada, score=0.5)
    assert publish(second, url, signer=ada).listing.version == "2"
    assert yank("support-routing@2", "worse", url, signer=ada).yanked == "worse"
    assert pull("support-routing", tmp_path / "first.tgsp", url).listing.version == "1"
    with pytest.raises(MarketplaceError, match="was withdrawn: worse"):
        pull("support-routing@2", tmp_path / "no.tgsp", url)
    with pytest.raises(KeyStoreError, match="not among yours"):
        yank("greetings", "mine now", url)


def test_migrated_once_and_opened_again(
    host: MarketHost, shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    publish(shelf.put(tmp_path, "sorter", ada), host.url, signer=ada)
    with MarketHost(host.market.config, [shelf.base]) as again:
        assert [hit.name for hit in search("", again.url)] == ["sorter"]


@pytest.mark.parametrize(
    "case", [c for c in bad_cases() if c.step in ("lora_config", "base", "rvu_v2")][::9],
    ids=lambda case: case.name,
)  # fmt: skip
def test_what_the_gate_rejects_is_kept_out_with_its_report(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path, case: object
) -> None:
    good = shelf.put(tmp_path, "sorter", ada)
    bad = tmp_path / "bad.tgsp"
    bad.write_bytes(case.make(good.read_bytes(), ada))  # pyright: ignore
    with pytest.raises(GateRefusedError, match=case.step) as refused:  # pyright: ignore
        publish(bad, url, signer=ada)
    report = HTTP.get(f"{url}/api/v1/reports/{str(refused.value).rsplit(' ', 1)[1]}").json()
    assert report["package_digest"] == package_digest(bad)
    assert report["accepted"] is False
    digest = package_digest(bad)
    assert HTTP.get(f"{url}/api/v1/versions/sha256:{digest}/package").status_code == 404
    assert search("", url) == []
    stored = [p for p in (tmp_path / "market").rglob("*") if p.suffix in (".tgsp", ".partial")]
    assert stored == []


def test_a_name_stays_with_its_creator(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    publish(shelf.put(tmp_path, "sorter", ada), url, signer=ada)
    eve = stranger()
    mine = shelf.put(tmp_path, "sorter", eve, score=0.99)
    with pytest.raises(MarketplaceError, match="belongs to ada"):
        publish(mine, url, signer=eve)
    assert not list((tmp_path / "market").rglob(f"{package_digest(mine)}*"))
    other_ada = stranger("Ada")
    with pytest.raises(MarketplaceError, match="handle ada is taken"):
        publish(shelf.put(tmp_path, "other", other_ada), url, signer=other_ada)
    client = ServiceMarketplace(url)
    assert client.register(other_ada, "ada-two").handle == "ada-two"
    publish(shelf.put(tmp_path, "other", other_ada), url, signer=other_ada)
    answer = ask(url, eve, "yank", "/yanks", fields={"reference": "sorter", "reason": "x"})
    assert answer.status_code == 403


def test_keys_are_added_and_revoked(url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path) -> None:
    client, second = ServiceMarketplace(url), stranger("Ada too")
    publish(shelf.put(tmp_path, "sorter", ada), url, signer=ada)
    client.add_key(ada, second)
    assert (
        publish(
            shelf.put(tmp_path, "sorter", second, score=0.8), url, signer=second
        ).listing.version
        == "2"
    )
    client.revoke_key(second, ada.public.fingerprint, "lost")
    with pytest.raises(MarketplaceError, match="was revoked here"):
        publish(shelf.put(tmp_path, "sorter", ada, score=0.7), url, signer=ada)
    assert HTTP.get(f"{url}/api/v1/creators/ada").json()["keys"] == [
        [ada.public.fingerprint, "lost"], [second.public.fingerprint, None]
    ]  # fmt: skip
    # A revoked key does not come back by registering it again.
    with pytest.raises(MarketplaceError, match="registered already"):
        client.register(ada, "ada-again")


def test_who_rotates_a_key_still_publishes_and_withdraws(
    url: str, shelf: Shelf, own_key: KeyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return int(ended.value.code or 0), capsys.readouterr().out

    publish(shelf.put(tmp_path, "sorter", own_key), url)
    old = own_key.public.fingerprint
    assert run("keys", "rotate", "Ada", "--revoke-old")[0] == 0
    store = KeyStore()
    new = store.unlock("Ada", OPERATOR)
    package = shelf.put(tmp_path, "sorter", new, score=0.8)
    with pytest.raises(MarketplaceError, match="tensafe marketplace keys add"):
        publish(package, url)
    # Its name alone gives nobody else a way in.
    with pytest.raises(KeyStoreError, match="not among yours"):
        yank("sorter@1", "mine", url)
    words = ("marketplace", "keys", "add", "--marketplace", url)
    assert run(*words, "--known", "f" * 64)[0] == 1
    code, told = run(*words, "--json")
    assert code == 0
    assert json.loads(told) == {"handle": "ada", "fingerprint": new.public.fingerprint}
    assert publish(package, url).listing.version == "2"
    assert yank("sorter@1", "old", url).yanked == "old"
    told = run("marketplace", "keys", "revoke", old, "--reason", "stolen", "--marketplace", url)[1]
    assert told == f"revoked: {old}\n"
    assert HTTP.get(f"{url}/api/v1/creators/ada").json()["keys"] == [
        [old, "stolen"], [new.public.fingerprint, None]
    ]  # fmt: skip
    assert run("marketplace", "keys", "add", "--marketplace", str(tmp_path))[0] == 2
    with pytest.raises(KeyStoreError, match="was rotated away"):
        store.unlock_retired(new.public.fingerprint, OPERATOR)


def test_a_key_is_added_only_with_its_own_consent(url: str, ada: KeyPair) -> None:
    """Whoever has a public-key file could else take its owner's name before they come."""
    eve = stranger()
    ServiceMarketplace(url).register(eve)
    document = public_key_document(ada).decode("ascii")

    def add(consent: str, challenge: str) -> int:
        fields = {"public_key": document, "consent": consent}
        return ask(
            url, eve, "add-key", "/creators/keys", fields=fields, challenge=challenge
        ).status_code

    def consent(challenge: str, signer: KeyPair = ada, **changes: str) -> str:
        fields = {"joins": changes.pop("joins", eve.public.fingerprint)}
        made = sign_action(signer, "join", audience=url, challenge=challenge, **fields)
        return made.model_copy(update=changes).model_dump_json()

    assert ask(
        url, eve, "add-key", "/creators/keys", fields={"public_key": document}
    ).status_code == 401  # fmt: skip
    falsified: list[Callable[[str], str]] = [
        lambda given: "{}",
        lambda given: consent(given, eve),
        lambda given: consent(given, eve, fingerprint=ada.public.fingerprint),
        lambda given: consent(given, joins=stranger().public.fingerprint),
        lambda given: consent(given, action="register"),
        lambda given: consent(new_challenge(url)),
        lambda given: consent(given, audience="https://another.example"),
    ]
    for falsify in falsified:
        given = new_challenge(url)
        assert add(falsify(given), given) == 401
    assert ServiceMarketplace(url).register(ada).handle == "ada"


def test_a_proof_is_good_once_here_and_for_what_it_says(url: str, ada: KeyPair) -> None:
    ServiceMarketplace(url).register(ada)
    fields = {"package_digest": "0" * 64, "size_bytes": "10"}

    def begin(**changes: object) -> int:
        return ask(url, ada, "upload", "/uploads", fields=fields, **changes).status_code

    assert begin() == 201
    used = new_challenge(url)
    assert begin(challenge=used) == 201
    assert begin(challenge=used) == 401
    assert begin(challenge="invented") == 401
    assert begin(audience="https://another.example") == 401
    assert begin(action="yank") == 401
    assert begin(fields_changed=1) == 400
    eve = stranger()
    assert begin(fingerprint=eve.public.fingerprint) == 403
    assert ask(url, eve, "upload", "/uploads", fields=fields).json()["category"] == "unknown_key"
    signed = ask(url, ada, "upload", "/uploads", fields=fields, ml_dsa_65="AAAA")
    assert signed.status_code == 401
    other = {**fields, "size_bytes": "11"}
    challenge = new_challenge(url)
    made = sign_action(ada, "upload", audience=url, challenge=challenge, **fields)
    swapped = {**made.model_dump(), "fields": other}
    assert HTTP.post(f"{url}/api/v1/uploads", json=swapped).status_code == 401


def test_closed_registration_and_a_name_of_its_own(
    shelf: Shelf, ada: KeyPair, home: Path, tmp_path: Path
) -> None:
    package = shelf.put(tmp_path, "sorter", ada)
    with serving(tmp_path / "closed", shelf.base, registration="closed") as host:
        with pytest.raises(MarketplaceError, match="registration is closed"):
            publish(package, host.url, signer=ada)
        host.market.catalogue.creators.add(ada.public)
        publish(package, host.url, signer=ada)
    with (
        serving(tmp_path / "named", shelf.base, public_url="https://market.example") as host,
        pytest.raises(UsageError, match=r"calls itself 'https://market\.example'"),
    ):
        publish(package, host.url, signer=ada)


def test_a_lying_service_gives_nothing(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path, home: Path
) -> None:
    """Its operator changes the package, then the catalogue as well: the signatures don't follow."""
    package = shelf.put(tmp_path, "sorter", ada)
    listing = publish(package, url, signer=ada).listing
    stored = next((tmp_path / "market").rglob("*.tgsp"))
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    with pytest.raises(Exception, match="gave other bytes"):
        pull("sorter", tmp_path / "got.tgsp", url)
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    engine = create_engine(f"sqlite:///{tmp_path / 'market' / 'marketplace.db'}")
    with engine.begin() as connection:
        told = json.dumps({**listing.as_dict(), "package_digest": digest})
        connection.execute(
            text("UPDATE versions SET package_digest = :d, listing = :l"), {"d": digest, "l": told}
        )
    engine.dispose()
    target = stored.parent.parent / digest[:2] / f"{digest}.tgsp"
    target.parent.mkdir(exist_ok=True)
    stored.rename(target)
    with pytest.raises(Exception, match="content has"):
        pull("sorter", tmp_path / "got.tgsp", url)
    assert not (tmp_path / "got.tgsp").exists()


@pytest.mark.parametrize(
    ("claim", "asked", "told"),
    [
        ({}, "sorter", "was asked for sorter and answers with other@1"),
        ({"version": "7"}, "other@1", "was asked for other@1 and answers with other@7"),
        ({}, "sha256:{digest}", "was asked for sha256"),
        ({"name": "sorter"}, "sorter", "lists sorter@1 by .* and gave other"),
        ({"fingerprint": "0" * 64}, "other", "lists other@1 by the key 0000"),
    ],
)
def test_a_service_that_gives_another_sound_package_gives_nothing(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path, claim: dict[str, str], asked: str,
    told: str,
) -> None:  # fmt: skip
    """Both packages are intact and by a trusted creator; only one is what was asked for."""
    wanted = publish(shelf.put(tmp_path, "sorter", ada), url, signer=ada).listing
    other = publish(shelf.put(tmp_path, "other", ada), url, signer=ada).listing
    engine = create_engine(f"sqlite:///{tmp_path / 'market' / 'marketplace.db'}")
    with engine.begin() as connection:
        lie = json.dumps({**other.as_dict(), **claim})
        connection.execute(text("UPDATE versions SET listing = :l"), {"l": lie})
    engine.dispose()
    with pytest.raises(VerificationError, match=told):
        pull(asked.format(digest=wanted.package_digest), tmp_path / "got.tgsp", url)
    assert not (tmp_path / "got.tgsp").exists()


def test_what_was_pulled_is_told_as_it_was_signed(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    listing = publish(shelf.put(tmp_path, "sorter", ada, score=0.7), url, signer=ada).listing
    engine = create_engine(f"sqlite:///{tmp_path / 'market' / 'marketplace.db'}")
    with engine.begin() as connection:
        lie = json.dumps({**listing.as_dict(), "score": 0.99, "licence": "MIT"})
        connection.execute(text("UPDATE versions SET listing = :l"), {"l": lie})
    engine.dispose()
    assert search("", url)[0].score == 0.99
    pulled = pull("sorter", tmp_path / "got.tgsp", url).listing
    assert (pulled.score, pulled.licence, pulled.version) == (0.7, "", "1")


def test_nothing_and_nonsense_answer(home: Path) -> None:
    with pytest.raises(MarketplaceError, match="can't be reached"):
        search("x", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    "path", ["/packages/none", "/packages/..%2f..", "/compare", "/compare?item=a&item=b", "/x"]
)
def test_pages_that_are_not_there(url: str, path: str) -> None:
    answer = HTTP.get(f"{url}{path}")
    assert answer.status_code in (400, 404)
    assert "Back to all adapters" in answer.text


def test_links_within_a_package_are_text_on_the_page() -> None:
    document = (
        "---\nname: a\n---\n[files](references/TABLE.md) [up](/creators/eve) [in](#x) "
        "[odd](//example.org) [query](?q=1) [web](https://example.org/a) [mail](mailto:a@b.example)"
    )
    html = str(skill_html(document))
    assert re.findall('href="([^"]*)"', html) == ["https://example.org/a", "mailto:a@b.example"]
    assert "files" in html


def test_a_hostile_package_is_only_text_on_the_page(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    package = tmp_path / "hostile.tgsp"
    package.write_bytes(attacking(shelf.trained.data, ada))
    publish(package, url, signer=ada)
    publish(shelf.put(tmp_path, "sorter", ada), url, signer=ada)
    for path in ("/", "/packages/hostile", "/compare?item=hostile&item=sorter", "/creators/ada"):
        answer = HTTP.get(f"{url}{path}")
        assert answer.status_code == 200
        page = answer.text.lower()
        for bad in ("<script", "<img", "<iframe", "<svg", "<style", "<form action=\"https",
                    "href=\"javascript", "href=\"data", "<meta http-equiv"):  # fmt: skip
            assert bad not in page
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    page = HTTP.get(f"{url}/packages/hostile").text
    assert 'href="https://example.org/a"' in page
    assert 'rel="nofollow noopener noreferrer"' in page
    assert "&lt;script&gt;document.title" in page
    assert "{{ 7*7 }}" in page
    raw = HTTP.get(f"{url}/api/v1/versions/hostile/skill")
    assert raw.headers["content-type"].startswith("text/plain")
    got = HTTP.get(f"{url}/packages/{quote('hostile@1')}/download")
    assert got.headers["content-disposition"] == 'attachment; filename="hostile-1.tgsp"'


def test_a_package_whose_name_gives_none_is_rejected_with_a_report(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    package = shelf.put(tmp_path, "sorter", ada, title="\u65e5\u672c\u8a9e")
    ServiceMarketplace(url).register(ada)
    size = package.stat().st_size
    fields = {"package_digest": package_digest(package), "size_bytes": str(size)}
    begun = ask(url, ada, "upload", "/uploads", fields=fields).json()
    sent = HTTP.put(f"{url}/api/v1/uploads/{begun['upload']}", content=package.read_bytes())
    assert (sent.status_code, sent.json()["category"]) == (422, "rejected")
    assert "can't be listed" in sent.json()["error"]


def test_skill_documents_with_hidden_characters_are_rejected(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    bad = shelf.put(tmp_path, "sorter", ada, body="Read \u202emirrored\u202c text")
    with pytest.raises(GateRefusedError, match=r"control character U\+202E"):
        publish(bad, url, signer=ada)
    assert search("", url) == []
