"""Real passages for nine fields, from texts that were not written for this.

Shared data (tables, textbooks, PDFs, debates) and, for law, security and software, the licences,
manual pages and package descriptions that a Debian machine with this product has.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# Terms were revised after errors among the even ones were read; the odd ones of a full source are
# neither read nor scored before.
PER_SOURCE = 40
_CHARS = 1200
_DOC = Path("/usr/share")


@dataclass(frozen=True)
class Source:
    """Passages with one expected field. `name` says where they come from."""

    domain: str
    name: str
    passages: tuple[str, ...]


def domain_sources(shared: Path) -> list[Source]:
    """All sources; one that this machine lacks has no passages."""
    plays = shared / "text/tiny_shakespeare/tiny_shakespeare.txt"
    wikipedia = [Source(d, "XQuAD: Wikipedia", _xquad(shared, t)) for d, t in XQUAD.items()]
    return [
        Source("customer support", "banking77: eight messages of one intent", _banking(shared)),
        Source("medical", "COVID-19 FAQ, answers", _column(_covid(shared), "answer")),
        Source("medical", "OpenStax anatomy: clinical boxes", _clinical(shared)),
        Source("legal", "licences in /usr/share/common-licenses", _licences()),
        Source("legal", "Federal Register, Supreme Court transcript", _pdfs(shared)),
        Source("finance", "OpenStax economics", _book(shared, "economics")),
        Source("software", "package descriptions (METADATA)", _packages(SOFTWARE)),
        Source("software", "manual pages: git, make, gcc ...", _manual(SOFTWARE_PAGES)),
        Source("security", "manual pages: ssh, gpg, openssl ...", _manual(SECURITY_PAGES)),
        Source("education", "debates: uniform, physical education", _debates(shared, SCHOOL)),
        Source("education", "OpenStax sociology: the chapter on education", _chapter(shared)),
        Source("science", "OpenStax biology", _book(shared, "biology")),
        Source("science", "OpenStax physics", _book(shared, "physics")),
        Source("general", "OpenStax US history", _book(shared, "us-history")),
        *wikipedia,
        Source("general", "debates: books, fathers, marriage, Singapore", _debates(shared, DAILY)),
        Source("general", "Shakespeare", _plain(plays)),
    ]  # fmt: skip


SOFTWARE = ("fastapi", "polars", "rich", "typer", "pydantic", "tqdm", "scipy", "pytest", "numpy")
SOFTWARE_PAGES = (
    "git", "git-commit", "git-merge", "git-rebase", "make", "gcc", "tar", "sed", "gdb", "cmake",
    "perl", "bash", "find", "diff", "python3", "ld", "strace", "curl", "wget", "rsync",
)  # fmt: skip
SECURITY_PAGES = (
    "ssh", "ssh-keygen", "ssh-agent", "ssh-add", "gpg", "gpg-agent", "gpgsm", "gpgv", "openssl",
    "openssl-x509", "openssl-req", "openssl-enc", "openssl-dgst", "openssl-ca", "openssl-verify",
    "openssl-s_client", "openssl-ocsp", "openssl-pkcs12", "apt-secure", "passwd", "certtool",
    "openssl-genpkey", "openssl-cms", "openssl-ciphers", "ssh-keyscan", "crypto", "x509",
    "passphrase-encoding", "proxy-certificates", "ssh_config", "pam_unix", "pam_faillock", "crypt",
)  # fmt: skip
# Articles of one clear subject; steam engines, primes, oil crises and the like are left out.
XQUAD = {
    "medical": ("Pharmacy", "Immune_system"),
    "legal": ("European_Union_law",),
    "finance": ("Economic_inequality",),
    "education": ("Teacher", "Private_school", "Harvard_University", "University_of_Chicago"),
    "science": ("Oxygen", "Ctenophora", "Geology", "Chloroplast", "Force"),
    "general": (
        "Super_Bowl_50", "Warsaw", "Normans", "Martin_Luther", "Southern_California", "Huguenot",
        "Fresno,_California", "Newcastle_upon_Tyne", "Victoria_and_Albert_Museum", "Genghis_Khan",
        "Jacksonville,_Florida", "Doctor_Who", "Yuan_dynasty", "Kenya", "Rhine", "Imperialism",
        "French_and_Indian_War",
    ),
}  # fmt: skip
SCHOOL = ("is-the-school-uniform", "should-physical-education")
DAILY = ("tv-is-better", "is-it-better-to-have-a-lousy", "if-your-spouse", "william-farquhar")


def _spread(passages: Sequence[str], count: int = PER_SOURCE) -> tuple[str, ...]:
    """At most `count` of the passages, evenly spaced from first to last."""
    if len(passages) <= count:
        return tuple(passages)
    return tuple(passages[index * len(passages) // count] for index in range(count))


def _cut(text: str) -> list[str]:
    """Passages of about 1,200 characters made of whole paragraphs."""
    passages: list[str] = []
    waiting = ""
    for block in re.split(r"\n\s*\n", text):
        waiting = f"{waiting}\n\n{block.strip()}".strip()
        if len(waiting) >= _CHARS:
            passages.append(waiting[: 2 * _CHARS])
            waiting = ""
    return passages


def _plain(path: Path) -> tuple[str, ...]:
    return _spread(_cut(path.read_text(encoding="utf-8")))


def _book(shared: Path, name: str) -> tuple[str, ...]:
    return _plain(shared / "text/openstax" / f"{name}.txt")


def _chapter(shared: Path) -> tuple[str, ...]:
    """Sociology from the first section of its chapter on education to the next chapter."""
    text = (shared / "text/openstax/sociology.txt").read_text(encoding="utf-8")
    start = text.rindex("\nEducation around the World\n")
    end = text.index("\nIntroduction to Government and Politics\n", start)
    return _spread(_cut(text[start:end]))


def _clinical(shared: Path) -> tuple[str, ...]:
    text = (shared / "text/openstax/anatomy.txt").read_text(encoding="utf-8")
    opened = re.finditer(r"\n(?:Disorders of|Diseases of)[^\n]{0,60}…?[^\n]*\n", text)
    return _spread([text[m.start() : m.start() + _CHARS] for m in opened])


def _covid(shared: Path) -> list[dict[str, str]]:
    with (shared / "tables/covid_faq/faq_covidbert.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["lang"] == "en"]


def _column(rows: Sequence[dict[str, str]], name: str) -> tuple[str, ...]:
    return _spread([row[name] for row in rows if len(row[name]) >= 400])


def _banking(shared: Path) -> tuple[str, ...]:
    by_intent: dict[str, list[str]] = {}
    with (shared / "tables/banking77/train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_intent.setdefault(row["category"], []).append(row["text"])
    return _spread(["\n".join(by_intent[name][:8]) for name in sorted(by_intent)])


def _xquad(shared: Path, titles: Sequence[str]) -> tuple[str, ...]:
    data = json.loads((shared / "tables/xquad/xquad.en.json").read_text(encoding="utf-8"))["data"]
    found = {
        article["title"]: [part["context"] for part in article["paragraphs"]] for article in data
    }
    return _spread([text for title in titles for text in found[title]])


def _debates(shared: Path, topics: Sequence[str]) -> tuple[str, ...]:
    folder = shared / "preference/ukp_convincing_arguments"
    found: list[str] = []
    for topic in topics:
        (path,) = folder.glob(f"{topic}*.csv")
        arguments: dict[str, None] = {}
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                arguments |= dict.fromkeys((row["a1"], row["a2"]))
        found += _cut("\n\n".join(arguments))
    return _spread(found)


def _pdfs(shared: Path) -> tuple[str, ...]:
    from tensafe.data import extract, find_files
    from tensafe.data.extraction import ReadOptions

    texts: list[str] = []
    for name in ("federal-register-2020-17221.pdf", "scotus-transcript-p1.pdf"):
        (file,) = find_files(shared / "pdf" / name).files
        for item in extract(file, ReadOptions()).items:
            messages = getattr(item, "messages", ())
            texts += ["\n".join(turn["content"] for turn in messages)] if messages else []
    return _spread([text for text in texts if len(text) >= 400])


def _licences() -> tuple[str, ...]:
    folder = _DOC / "common-licenses"
    names = ("Apache-2.0", "Artistic", "BSD", "GFDL-1.3", "GPL-2", "GPL-3", "LGPL-2.1", "MPL-1.1")
    present = [folder / name for name in names if (folder / name).exists()]
    texts = [path.read_text("utf-8", "replace") for path in present]
    return _spread([passage for text in texts for passage in _cut(text)])


def _packages(names: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        try:
            text = metadata.distribution(name).read_text("METADATA") or ""
        except metadata.PackageNotFoundError:
            continue
        found += _spread(_cut(text.partition("\n\n")[2]), 4)
    return _spread(found)


def _manual(pages: Sequence[str]) -> tuple[str, ...]:
    return _spread([text for page in pages for text in _page(page)])


def _page(name: str) -> Iterator[str]:
    """The first 1,200 characters of prose of a manual page, without its macros."""
    for section in ("1", "1ssl", "5", "7ssl", "8"):
        for path in sorted((_DOC / "man").glob(f"man*/{name}.{section}.gz")):
            source = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
            lines = [_unmarked(line) for line in source.splitlines()]
            text = "\n".join(line for line in lines if line)
            begin = text.find("DESCRIPTION")
            yield text[max(begin, 0) :][: 2 * _CHARS]
            return


def _unmarked(line: str) -> str:
    if line.startswith(('.\\"', "'\\\"", ".ie", ".el", ".de", ".ds", ".tr", ".if", ".TH", ".nr")):
        return ""
    line = re.sub(r"^\.[A-Za-z]{1,3}\s*", "", line)
    line = re.sub(r"\\f[A-Z(]{1,3}|\\f\[[A-Z]*\]|\\s[-+]?\d|\\&|\\\*\([A-Z]{2}", "", line)
    return line.replace("\\-", "-").replace("\\(aq", "'").strip()
