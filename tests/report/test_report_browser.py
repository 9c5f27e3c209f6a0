"""The report of the hostile run in a real browser: nothing runs or sticks out, dark is dark."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tensafe.report import read_run, render_report
from tools.screenshots import FLAGS

pytestmark = pytest.mark.slow  # starts Chromium, several seconds each
Image = pytest.importorskip("PIL.Image", reason="reads pixels (comes with reportlab)")
DARK = ("--blink-settings=preferredColorScheme=0",)
LIGHT = ("--blink-settings=preferredColorScheme=1",)


@pytest.fixture(scope="module")
def page(recorded_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_report(read_run(recorded_run)), encoding="utf-8")
    return path


def chromium(browser: str, profile: Path, *arguments: str) -> str:
    done = subprocess.run(
        [browser, *FLAGS, f"--user-data-dir={profile}", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return done.stdout


def picture(browser: str, folder: Path, url: str, width: int, *flags: str) -> Image.Image:
    target = folder / "page.png"
    chromium(
        browser, folder / "profile", *flags, f"--window-size={width},9000",
        f"--screenshot={target}", url,
    )  # fmt: skip
    return Image.open(target).convert("RGB")


def test_no_script_of_the_data_runs(browser: str, page: Path, tmp_path: Path) -> None:
    dom = chromium(browser, tmp_path / "profile", "--dump-dom", page.as_uri())
    title = dom[dom.index("<title>") + 7 : dom.index("</title>")]
    assert title.endswith("run report")
    assert "<script" not in dom
    assert "<img" not in dom
    # The control: in this browser the same attack works where nothing stops it.
    open_page = tmp_path / "open.html"
    open_page.write_text("<title>before</title><script>document.title='owned'</script>")
    assert "<title>owned</title>" in chromium(
        browser, tmp_path / "profile", "--dump-dom", open_page.as_uri()
    )


def test_nothing_sticks_out_at_phone_width(browser: str, page: Path, tmp_path: Path) -> None:
    # Chromium's own window can't be this narrow; a frame can. What overflowed would be painted
    # in the margin that the page keeps at its right edge.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="{page.as_uri()}" '
        'style="width:375px;height:9000px;border:0"></iframe>'
    )
    shown = picture(browser, tmp_path, frame.as_uri(), 500, *LIGHT)
    paper = shown.getpixel((1, 1))
    edge = shown.crop((375 - 8, 0, 375, shown.height))
    assert edge.getcolors() == [(8 * shown.height, paper)]
    middle = shown.crop((20, 0, 355, shown.height)).getcolors(1 << 20)
    assert middle is not None
    assert len(middle) > 20


@pytest.mark.parametrize(("flags", "is_dark"), [(LIGHT, False), (DARK, True)])
def test_the_page_follows_the_readers_colour_scheme(
    browser: str, page: Path, tmp_path: Path, flags: tuple[str, ...], is_dark: bool
) -> None:
    shown = picture(browser, tmp_path, page.as_uri(), 1000, *flags)
    paper = shown.getpixel((1, 1))
    assert isinstance(paper, tuple)
    assert (sum(paper) < 3 * 64) is is_dark
