"""A flagged film before somebody who looks at it: its map, another window, by mouse and by keys."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.web.conftest import Watched, served
from tests.integration.web.test_reading import drawn
from tests.services import environment
from worker.db.session import make_engine
from worker.demo import CHEST, sample_path
from worker.settings import Settings

Tab = Callable[[str], AbstractContextManager[Watched]]
LOADED = "url => [...document.querySelectorAll('.stage img')].some(one => one.complete && one.src.includes(url))"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def page_at(home: Path) -> Iterator[str]:
    """A service that has scored NEMA's chest film, which it flags."""
    ran = subprocess.run(
        [sys.executable, "-m", "worker.cli", "demo", "--films", str(sample_path(CHEST)), "--home", str(home)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert ran.returncode == 0, ran.stderr
    with served(home, Settings(home=home).database) as at:
        yield at


def viewer(watched: Watched) -> Page:
    """The first film of the worklist, opened as a person does, once its viewer works."""
    page = watched.page
    watched.goto("/")
    page.locator("table.worklist tbody a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("COVID-19")
    page.locator(".stage.live").wait_for()
    return page


def asked(page: Page, path: str, act: Callable[[], object]) -> None:
    """A picture comes for what was done, and is shown."""
    with page.expect_response(lambda answer: path in answer.url and answer.status == 200):
        act()
    page.wait_for_function(LOADED, arg=path)


def test_a_map_is_laid_over_the_film_and_taken_away(tab: Tab, page_at: str) -> None:
    with tab(page_at) as watched:
        page = viewer(watched)
        button, state = page.get_by_role("button", name="COVID-19"), page.locator(".state")
        asked(page, "/map/covid19.png", button.click)
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(state).to_contain_text("map of COVID-19")
        expect(page.locator("img.map")).to_be_visible()
        picture, layer = page.locator("img.picture").bounding_box(), page.locator("img.map").bounding_box()
        assert picture == layer
        page.keyboard.press("m")
        expect(page.locator("img.map")).to_be_hidden()
        expect(state).not_to_contain_text("map of")


def test_the_window_changes_by_field_by_key_and_by_mouse(tab: Tab, page_at: str) -> None:
    with tab(page_at) as watched:
        page = viewer(watched)
        width, state = page.get_by_label("Width"), page.locator(".state")
        sent = float(width.input_value())
        width.fill("700")
        asked(page, "width=700", lambda: width.press("Enter"))
        page.locator(".stage").focus()
        asked(page, "width=560", lambda: page.keyboard.press("["))
        asked(page, "invert=1", lambda: page.keyboard.press("i"))
        expect(state).to_contain_text("inverted")
        page.keyboard.press("r")
        page.wait_for_function(LOADED, arg="picture.png?side=1000")  # perhaps without asking: it was there before
        expect(state).to_contain_text("as sent")
        assert float(width.input_value()) == sent
        box = page.locator(".stage").bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        def dragged() -> None:
            page.mouse.move(x, y)
            page.mouse.down(button="right")
            page.mouse.move(x + 200, y, steps=10)
            page.mouse.up(button="right")

        asked(page, "centre=", dragged)
        expect(state).not_to_contain_text("as sent")
        assert float(width.input_value()) > sent


def test_more_pixels_come_when_it_is_enlarged(tab: Tab, page_at: str) -> None:
    with tab(page_at) as watched:
        page = viewer(watched)
        fitted = page.locator(".sheet").bounding_box()
        page.locator(".stage").focus()
        with page.expect_response(lambda answer: answer.url.endswith("/picture.png")):
            for _ in range(12):
                page.keyboard.press("+")
        enlarged = page.locator(".sheet").bounding_box()
        assert fitted
        assert enlarged
        assert enlarged["width"] > 5 * fitted["width"]
        page.keyboard.press("ArrowLeft")
        moved = page.locator(".sheet").bounding_box()
        assert moved
        assert moved["x"] > enlarged["x"]


def test_it_is_a_plain_picture_without_scripts(tab: Tab, page_at: str) -> None:
    with tab(page_at) as watched:
        watched.goto("/")
        path = watched.page.locator("table.worklist tbody a").first.get_attribute("href")
        plain = watched.page.context.browser
        assert plain
        page = plain.new_context(java_script_enabled=False).new_page()
        page.goto(f"{page_at}{path}")
        picture = page.locator("img.picture").bounding_box()
        assert picture
        assert picture["width"] > 200
        assert not page.locator("[data-do=invert]").is_visible()
        page.context.close()


def test_it_is_labelled_by_two_keys_before_its_score_is_shown(tab: Tab, page_at: str, home: Path) -> None:
    database = make_engine(Settings(home=home).database)
    drawn(database, [1])
    database.dispose()
    with tab(page_at) as watched:
        page, text = watched.page, watched.page.locator("main")
        watched.goto("/film/1")
        expect(text).to_contain_text("hidden until you label it")
        expect(text).not_to_contain_text("0.9")
        watched.goto("/reading")
        page.locator("main a[href='/reading/next']").click()
        page.wait_for_url("**/reading/1")
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        expect(text).to_contain_text("Your label: normal")
        expect(text).to_contain_text("0.91")
