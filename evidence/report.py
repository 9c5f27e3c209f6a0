"""No text in a run's records can become more than text in its report.

Every string of a recorded run's records, file names and field names included, gets an attack
appended: tags, attributes, comments, template code, entities, text that runs backwards. The page
must have the very elements and attributes that it has with a harmless word in the same places,
hold each attack word for word, and keep a policy that lets no script run. Where Chromium is
installed, it parses the pages too, and none of the attacks may have run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

from evidence._report import conclude
from tensafe.report import read_run, render_report
from tensafe.tgsp.text import visible

RECORDED = Path(__file__).resolve().parent.parent / "tests" / "golden" / "report" / "0.1.0"
ATTACKS = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'><svg onload='document.title=\"owned\"'>",
    "</style></title><script>document.title='owned'</script>",
    "--><!-- ]]> <![CDATA[ <iframe srcdoc='<script>top.document.title=1</script>'>",
    "{{ 7 * 7 }}{% include 'report.css' %}{# note #}",
    "javascript:document.title='owned' data:text/html,<b>x",
    "&lt;script&gt;&#60;script&#62;&amp;",
    "\u202egnp.exe\u2066\u200f",
)
HARMLESS = "word"
# Values that a reader of the records checks against a fixed set, and digests, which only order.
FIXED = {"verdict", "rule", "event", "method", "lora_train", "name", "time"}
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Structure(HTMLParser):
    """Elements with their attributes, values of classes and links aside, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def attacked(value: Any, attack: str, name: str = "") -> Any:
    """The value with `attack` appended to every string in it that may be any text."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        is_free = name in ("kept_by_source", "mappings", "dropped", "evidence")
        return {
            (key + attack if is_free else key): attacked(part, attack, key)
            for key, part in fields.items()
        }
    if isinstance(value, list):
        return [attacked(part, attack, name) for part in cast("list[Any]", value)]
    if isinstance(value, str) and name not in FIXED and not name.endswith("digest"):
        return value + attack
    return value


def attacked_page(attack: str) -> str:
    """The report of the recorded run with the attack in every record."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(shutil.copytree(RECORDED, Path(folder) / "run"))
        for path in run.rglob("*.json"):
            value = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(attacked(value, attack)), encoding="utf-8")
        events = run / "events.jsonl"
        lines = events.read_text(encoding="utf-8").splitlines()
        events.write_text(
            "\n".join(json.dumps(attacked(json.loads(line), attack)) for line in lines),
            encoding="utf-8",
        )
        return render_report(read_run(run))


def dom(browser: str, html: str) -> str:
    """The page as a browser holds it after its scripts, if any, have run."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(html, encoding="utf-8")
        done = subprocess.run(
            [
                browser, *FLAGS, f"--user-data-dir={folder}/profile", "--dump-dom", page.as_uri(),
            ],
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        return done.stdout


def main() -> None:
    """Attack, compare, conclude."""
    expected = Structure(attacked_page(HARMLESS))
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    in_browser = Structure(dom(browser, attacked_page(HARMLESS))) if browser else None
    holds = True
    places = 0
    for attack in ATTACKS:
        html = attacked_page(attack)
        found = Structure(html)
        count = found.text.count(visible(attack))
        ok = found.elements == expected.elements and count > 100 and "<script" not in html
        if browser and in_browser:
            shown = dom(browser, html)
            ok = ok and Structure(shown).elements == in_browser.elements
            ok = ok and "<title>owned</title>" not in shown
        print(f"{'held' if ok else 'FAILED':<6} in {count} places: {ascii(attack)[:70]}")
        holds, places = holds and ok, places + count
    figures = {
        "attacks": len(ATTACKS), "places": places, "elements": len(expected.elements),
        "browser": bool(browser),
    }  # fmt: skip
    conclude("report", figures, holds=holds)


if __name__ == "__main__":
    main()
