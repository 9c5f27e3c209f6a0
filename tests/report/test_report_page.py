"""The report of a real run: what it says, what it must never do, what half a run gives."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hostile_data import FILE_NAME, LABELS, SCRIPT

from tensafe.cli import main
from tensafe.errors import DataError
from tensafe.report import read_run, render_report

HARMLESS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "nav", "aside",
    "section", "article", "h1", "h2", "h3", "h4", "p", "span", "strong", "a", "ul", "li", "dl",
    "dt", "dd", "div", "code", "table", "caption", "thead", "tbody", "tr", "th", "td", "details",
    "summary", "figure", "figcaption", "svg", "line", "text", "path", "circle", "rect",
}  # fmt: skip
VOID = {"meta"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; checks that every element is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def html(recorded_run: Path) -> str:
    return render_report(read_run(recorded_run))


@pytest.fixture(scope="session")
def page(html: str) -> Page:
    return Page(html)


@pytest.mark.slow  # trains, tests and screens a real adapter
@pytest.mark.timeout(1200)
def test_a_run_below_its_gate_leaves_its_report(fresh_run: Path) -> None:
    html = (fresh_run / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert_says_what_the_records_say(fresh_run, page)
    assert_only_text(page)


def test_the_page_says_what_the_records_say(recorded_run: Path, page: Page) -> None:
    assert_says_what_the_records_say(recorded_run, page)


def test_text_of_the_data_is_only_ever_text(page: Page) -> None:
    assert_only_text(page)


def assert_says_what_the_records_say(folder: Path, page: Page) -> None:
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    gates = json.loads((folder / "gates.json").read_text(encoding="utf-8"))
    assert "No package" in page.text
    for figure in (
        f"{outcome['score']:.3f}", f"{outcome['base_score']:.3f}", f"{outcome['epsilon']:.3f}",
        f"{outcome['interval'][0]:.3f}", outcome["base_digest"],
    ):  # fmt: skip
        assert figure in page.text
    for gate in gates.values():
        assert gate["reason"] in page.text
        for advice in gate["advice"]:
            assert advice in page.text
    screening = json.loads((folder / "screening.json").read_text(encoding="utf-8"))
    assert all(layer["reason"] in page.text for layer in screening["layers"])


def assert_only_text(page: Page) -> None:
    assert {tag for tag, _ in page.tags} <= HARMLESS
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"style", "src", "srcset", "action", "xlink:href"} & set(attributes)
    assert all(link["href"].startswith("#") for link in page.all("a"))
    # It is there, word for word, so it was escaped and not cut away.
    assert SCRIPT in page.text
    assert FILE_NAME in page.text
    for hostile in LABELS:
        assert hostile in page.text
    assert "<b>places</b>" in page.text


def test_hidden_characters_are_spelt_out(run_copy: Path) -> None:
    # Curation takes them out of examples; settings, file names and answers may hold them still.
    path = run_copy / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["domain"] = "exe\u202egnp"
    path.write_text(json.dumps(settings), encoding="utf-8")
    html = render_report(read_run(run_copy))
    assert "\u202e" not in html
    assert "\\u202e" in html


def test_the_policy_allows_the_one_style_block_and_nothing_else(html: str, page: Page) -> None:
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode("utf-8")).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    assert not re.search(r"https?://", html)


def test_it_says_whom_it_is_for(page: Page) -> None:
    assert "not for publication" in page.text
    assert "for you alone" in page.text


def test_structure_serves_readers_without_eyes(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"
    identifiers = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    named = [a for _, a in page.tags for a in [a] if "aria-labelledby" in a]
    assert all(a["aria-labelledby"] in identifiers for a in named)
    for drawing in page.all("svg"):
        assert "aria-hidden" in drawing or {"aria-label", "aria-labelledby"} & set(drawing)
    assert all(heading.get("scope") in ("col", "row") for heading in page.all("th"))
    assert all(link["href"][1:] in identifiers for link in page.all("a"))


def contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two #rrggbb colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_in_light_and_dark(html: str) -> None:
    schemes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", html, re.DOTALL)[:2]
    ]
    assert len(schemes) == 2
    for scheme in schemes:
        for ink in ("ink", "muted", "accent", "passed", "failed", "waived"):
            for ground in ("paper", "panel"):
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground, scheme)


def test_report_command_writes_the_same_page(
    run_copy: Path, html: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", str(run_copy)])
    assert end.value.code in (None, 0)
    path = Path(capsys.readouterr().out.strip())
    assert path == run_copy / "report.html"

    def timeless(text: str) -> str:
        return re.sub(r"Written [^<]*? by|<code>[^<]*/(run|0\.1\.0)</code>", "", text)

    assert timeless(path.read_text(encoding="utf-8")) == timeless(html)


def test_the_data_sets_own_card_is_quoted(run_copy: Path) -> None:
    (run_copy / "dataset" / "README.md").write_text(
        f"# Rows\n\nEnglish {SCRIPT}\n", encoding="utf-8"
    )
    page = Page(render_report(read_run(run_copy)))
    assert_only_text(page)
    assert f"English {SCRIPT}" in page.text


def test_a_changed_record_is_told(run_copy: Path) -> None:
    path = run_copy / "evaluation.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["score"] = 0.99
    path.write_text(json.dumps(report), encoding="utf-8")
    text = Page(render_report(read_run(run_copy))).text
    assert "The records don't agree" in text
    assert "evaluation.json has digest" in text


def test_a_missing_report_is_told(run_copy: Path) -> None:
    (run_copy / "screening.json").unlink()
    assert "screening.json is missing" in Page(render_report(read_run(run_copy))).text


def test_half_a_run_is_shown_as_half(run_copy: Path) -> None:
    for name in ("evaluation", "screening", "gates", "privacy", "provenance", "outcome"):
        (run_copy / f"{name}.json").unlink()
    text = Page(render_report(read_run(run_copy))).text
    assert "Unfinished" in text
    assert "Loss per example" in text
    for name in ("dataset/card.json", "events.jsonl"):
        (run_copy / name).unlink()
    assert "No training step" in Page(render_report(read_run(run_copy))).text


def test_a_step_taken_twice_counts_once_and_a_torn_line_is_told(run_copy: Path) -> None:
    path = run_copy / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    last = next(line for line in reversed(lines) if '"progress"' in line)
    path.write_text("\n".join([*lines, last, '{"time": 17']), encoding="utf-8")
    text = Page(render_report(read_run(run_copy))).text
    assert "over 4 steps" in text
    assert "torn lines in the log" in text


def test_an_unreadable_record_is_named(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_copy / "gates.json"
    gates = json.loads(path.read_text(encoding="utf-8"))
    gates["qa_verify"]["score"] = "high"
    path.write_text(json.dumps(gates), encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["report", str(run_copy)])
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert "gates.json: qa_verify.score" in error
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"gates\.json"):
        read_run(run_copy)


def test_a_folder_that_is_no_run_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", str(tmp_path)])
    assert end.value.code == 1
    assert "not a run folder" in capsys.readouterr().err
