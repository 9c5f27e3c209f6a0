"""What `tensafe pack` does: find the run, read the creator, check the skill document, package.

A bare adapter has no gate records, and without them nothing is packaged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tensafe.errors import DataError, GateRefusedError, KeyStoreError, UsageError
from tensafe.pipeline.config_file import CONFIG_FILE, read_config_file, train_config
from tensafe.pipeline.packaging import package_run
from tensafe.pipeline.run_folder import FinishedRun, read_run
from tensafe.screen.quotes import require_no_quotes
from tensafe.screen.subject import ADAPTER_CONFIG, is_run
from tensafe.tgsp import (
    Identity,
    KeyPair,
    KeyStore,
    PackageDigest,
    ensure_signing_key,
    passphrase_source,
    read_custom_skill_doc,
)
from tensafe.tgsp.writer import refusal

_CREATOR = re.compile(r"\s*(?P<name>[^<>]+?)\s*(?:<\s*(?P<email>[^<>\s]+@[^<>\s]+)\s*>)?\s*\Z")
RUNS = "runs"


@dataclass(frozen=True)
class Packed:
    """The package and who signed it."""

    run: FinishedRun
    package: PackageDigest
    creator: Identity
    fingerprint: str


def pack_run(
    path: Path | None,
    *,
    creator: str | None,
    skill_doc: Path | None,
    out: Path | None,
    passphrase_file: Path | None,
) -> Packed:
    """Package the run at `path`, or the one of the folder that this is called in.

    Without a creator it is signed by the key that the run was trained under, or the only one.

    Raises:
        UsageError: there is no run to be found or several, or the creator is malformed.
        GateRefusedError: a gate said no, or there are no gate records.
        DataError: the run is not finished, or the skill document breaks a rule or quotes the data.
        KeyStoreError: the key can't be used.
    """
    run = read_run(find_run(path))
    # Before anybody is asked for a passphrase.
    for record in vars(run.gates).values():
        if record.verdict == "failed":
            raise GateRefusedError(refusal(record))
    identity = parse_creator(creator)
    document = None
    if skill_doc is not None:
        document = read_custom_skill_doc(skill_doc)
        email = identity.email if identity else ""
        examples = (*run.dataset.train, *run.dataset.test)
        require_no_quotes(str(skill_doc), document, examples, allowed=(email,))
    signer = _signer(identity or _trainer(run), passphrase_file)
    package = package_run(run, signer, path=out, skill_doc=document)
    return Packed(run, package, signer.identity, signer.public.fingerprint)


def find_run(path: Path | None) -> Path:
    """The run folder that `path` names; without one, that of this folder or project.

    Raises:
        UsageError: none is found, or several and none is named.
        GateRefusedError: it is a bare adapter.
        DataError: there is nothing of the kind.
    """
    if path is None:
        return _run_of_here()
    if is_run(path):
        return path
    if (path / ADAPTER_CONFIG).is_file():
        parent = path.resolve().parent
        if path.resolve().name == "adapter" and is_run(parent):
            return parent
        raise GateRefusedError(
            f"{path}: an adapter without the run that made it has no records of qa_verify, "
            "rvu_v2_pass and dp_budget; give the run folder"
        )
    if (path / CONFIG_FILE).is_file():
        return _run_of_project(path / CONFIG_FILE)
    raise DataError(f"{path}: expected a run folder that `tensafe train` made, or its adapter")


def _run_of_here() -> Path:
    here = Path()
    if is_run(here):
        return here
    if (here / CONFIG_FILE).is_file():
        return _run_of_project(here / CONFIG_FILE)
    runs = sorted(p for p in (here / RUNS).glob("*") if is_run(p)) if (here / RUNS).is_dir() else []
    if len(runs) != 1:
        found = f"several runs here ({', '.join(map(str, runs))})" if runs else "no run here"
        raise UsageError(f"{found}: name the run folder, tensafe pack RUN --sign")
    return runs[0]


def _run_of_project(file: Path) -> Path:
    """Where the project's own settings say that its run is."""
    values = read_config_file(file).values
    settings = train_config(file, {} if values.get("data") else {"data": file.parent})
    folder = settings.run_folder
    if settings.out is None and not folder.is_absolute():
        folder = file.parent / folder
    if not is_run(folder):
        raise UsageError(f"{file}: its run {folder} does not exist yet: tensafe train --config")
    return folder


def parse_creator(text: str | None) -> Identity | None:
    """`Name <email>`, or a name alone; None for None.

    Raises:
        UsageError: neither of the two.
    """
    if text is None:
        return None
    found = _CREATOR.match(text)
    if found is None:
        raise UsageError(f'--creator {text!r}: expected "Name <email>"')
    return Identity(found["name"], found["email"] or "", "")


def _trainer(run: FinishedRun) -> Identity | None:
    """Who signed when the run ended, if that key is here."""
    store, name = KeyStore(), run.config.creator
    return store.public(name).identity if store.has(name) else None


def creator_key(creator: str | None, passphrase_file: Path | None) -> KeyPair:
    """The signing key of `Name <email>` (None: the only one there is), made on first use.

    Raises:
        UsageError: the creator is malformed.
        KeyStoreError: the key can't be used, or belongs to another address.
    """
    return _signer(parse_creator(creator), passphrase_file)


def _signer(identity: Identity | None, passphrase_file: Path | None) -> KeyPair:
    passphrase = passphrase_source(passphrase_file)
    if identity is None:
        return ensure_signing_key(passphrase=passphrase)
    store = KeyStore()
    if identity.email and store.has(identity.name):
        known = store.public(identity.name).identity
        if known.email != identity.email:
            raise KeyStoreError(
                f"the key {known.name} belongs to <{known.email or 'no address'}>, not "
                f"<{identity.email}>: give that address, or another name for a new key"
            )
    return ensure_signing_key(identity.name, passphrase=passphrase, email=identity.email)
