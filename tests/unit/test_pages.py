"""Pages lead somewhere: links, folders' pages and the architecture page name what is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "runs" for part in path.relative_to(ROOT).parts)
)
"""Of the project, not of what was trained here."""
ROOMS = sorted(
    found.parent.relative_to(ROOT)
    for package in ("worker", "model")
    for found in (ROOT / package).glob("*/**/__init__.py")
)
SCREEN = 60
LONGER = {"docker/README.md", "model/engine/README.md", "tests/benchmarks/README.md", "README.md"}
"""Pages that hold more than where to begin."""


def text(page: Path | str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page.parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.relative_to(ROOT)), link


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_room_says_what_is_in_it(room: Path) -> None:
    """Its page names each of its modules, and in its table no other."""
    page = text(room / "README.md")
    modules = {path.name for path in (ROOT / room).glob("*.py")} - {"__init__.py", "__main__.py"}
    assert sorted(name for name in modules if f"`{name}`" not in page) == []
    firsts = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    listed = {name for cell in firsts for name in re.findall(r"`(\w+\.py)`", cell)}
    assert sorted(listed - modules - {"__init__.py", "__main__.py"}) == []


@pytest.mark.parametrize("page", [str(page) for page in PAGES if page.name == "README.md"])
def test_the_page_of_a_folder_is_a_screen(page: str) -> None:
    assert page in LONGER or len(text(page).splitlines()) <= SCREEN


def test_every_page_is_in_the_readme() -> None:
    """Or in the README of its own package."""
    for page in PAGES:
        package = Path(page.parts[0]) / "README.md" if len(page.parts) > 1 else page
        near = text("README.md") + (text(package) if package in PAGES else "")
        assert f"{page.name}]" in near or f"{page.name})" in near or page.name in ("README.md", "CHANGELOG.md"), page


def named_in(page: str) -> Iterator[tuple[str, Path, str]]:
    """Each module that the page names, its path, and the definition named after it or ""."""
    for line in text(page).splitlines():
        folder = Path()
        for name, definition in re.findall(r"`([\w/]+\.py)`(?:: `([\w.]+)`)?", line):
            if "/" in name:
                folder = Path(name).parent
            places = [one / Path(name).name for one in (folder, Path("worker"), Path("model"))]
            yield name, next((one for one in places if (ROOT / one).is_file()), Path(name)), definition


def test_the_architecture_page_names_what_is_there() -> None:
    found = list(named_in("worker/ARCHITECTURE.md"))
    assert len(found) > 50
    for name, path, definition in found:
        assert (ROOT / path).is_file(), name
        last = definition.rpartition(".")[2]
        assert not last or re.search(rf"^\s*(def|class) {last}\b", text(path), re.MULTILINE), (name, definition)
