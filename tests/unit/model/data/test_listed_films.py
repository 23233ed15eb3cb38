"""Which of several folders' films are wanted, and why the others are not."""

from pathlib import Path

import pytest

from model.data.listed_films import Choice, ListedFilm, check_findings, choose, licences, read_tables
from model.errors import DatasetError

FREE, RESEARCH = "CC BY 4.0", "none stated; research purposes only"
LICENCES = {"a": FREE, "b": "CC BY-NC-SA 4.0", "c": RESEARCH, "d": ""}
FILMS = [
    ListedFilm(folder=Path(), set="s", cells={"image_id": name, "source": name.upper(), "license": licence})
    for name, licence in LICENCES.items()
]


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        (Choice(), "abcd"),
        (Choice(sources=("A", "C")), "ac"),
        (Choice(without_sources=("A", "C")), "bd"),
        (Choice(sources=("A", "B"), without_sources=("B",)), "a"),
        (Choice(licences=("cc by",)), "ab"),
        (Choice(licences=("CC BY",), without_licences=("-nc",)), "a"),
        (Choice(licences=("4.0", "RESEARCH")), "abc"),
        (Choice(without_licences=("research",)), "abd"),
        (Choice(sources=("A", "D"), licences=("CC",)), "a"),
    ],
    ids=str,
)
def test_films_are_chosen_by_source_and_licence(choice: Choice, kept: str) -> None:
    films, left_out = choose(FILMS, choice)
    assert "".join(film.name for film in films) == kept
    assert sum(left_out.values()) == len(FILMS) - len(kept)


def test_those_left_out_are_counted_by_reason() -> None:
    _, left_out = choose([*FILMS, FILMS[2]], Choice(without_sources=("B",), licences=("CC BY",)))
    assert left_out == {"source B": 1, f"licence {RESEARCH}": 2, "licence not given": 1}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(sources=("a",)), "no film has the source 'a'; there are A, B, C, D"),
        (Choice(without_sources=("E",)), "no film has the source 'E'"),
        (Choice(licences=("MIT",)), "no film is left of these sources and licences"),
        (Choice(licences=("",)), "an empty text is in every licence"),
        (Choice(without_licences=("",)), "an empty text is in every licence"),
    ],
    ids=str,
)
def test_a_choice_that_cannot_be_meant_is_refused(choice: Choice, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        choose(FILMS, choice)


def test_licences_are_counted() -> None:
    assert licences([*FILMS, FILMS[2]]) == {RESEARCH: 2, FREE: 1, "CC BY-NC-SA 4.0": 1, "not given": 1}


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a/films", "b/films"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DatasetError, match="two folders are called films"):
        read_tables([tmp_path / "a/films", tmp_path / "b/films"], set(), "")
    with pytest.raises(DatasetError, match="two folders are called films"):
        read_tables([tmp_path / "a/films", tmp_path / "a/films/../films/"], set(), "")


@pytest.mark.parametrize("written", [".", "../films", "../films/", "sub/.."])
def test_a_set_has_the_name_of_its_folder_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    (tmp_path / "films/sub").mkdir(parents=True)
    (tmp_path / "films/metadata.csv").write_text("image_id\none\n")
    monkeypatch.chdir(tmp_path / "films")
    assert [film.set for film in read_tables([Path(written)], {"image_id"}, "")] == ["films"]


@pytest.mark.parametrize("findings", [("normal", "tb"), ("clear", "mass_2", "a" * 32)])
def test_findings_of_ones_own(findings: tuple[str, ...]) -> None:
    check_findings(findings)


@pytest.mark.parametrize("findings", [(), ("normal",), ("normal", "tb", "tb"), ("normal", "TB"), ("2", "b"), ("a", "")])
def test_what_are_no_findings(findings: tuple[str, ...]) -> None:
    with pytest.raises(DatasetError, match="finding"):
        check_findings(findings)
