"""One tree of errors a package, each drawn as it is, and each DIMSE status in one place."""

import ast
import builtins
import re
from pathlib import Path
from types import ModuleType

import pytest

import model.errors
import worker.db.errors
import worker.errors
from dicom_gateway import errors as gateway
from dicom_gateway.errors import Refusal, ReportRefusal, RequestRefusal

ROOT = Path(__file__).parents[2]
PACKAGES = ("worker", "model", "dicom_gateway", "migrations")
BUILT_IN = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)}
STATUS = re.compile(r"0x(?:0[12]|A[79]|C0)[0-9A-F]{2}\b")


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def exception_classes(path: Path) -> list[str]:
    """Names of the classes of a module that are exceptions, by the names of their bases."""
    known, found = set(BUILT_IN), []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
            if bases & known or any(re.search(r"(Error|Exception|Exit|Interrupt)$", base) for base in bases):
                known.add(node.name)
                found.append(node.name)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_exceptions_are_defined_in_modules_of_that_name_alone(package: str) -> None:
    elsewhere = {
        str(path.relative_to(ROOT)): found
        for path in modules(package)
        if path.name != "errors.py" and (found := exception_classes(path))
    }
    assert elsewhere == {}
    rooms = [path.parent.name for path in modules(package) if path.name == "errors.py"]
    assert len(rooms) <= (2 if package == "worker" else 1), rooms


def test_the_look_for_exceptions_finds_them(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "class One(Exception): ...\nclass Two(One): ...\nclass Three(sql.DBAPIError): ...\nclass No(A): ..."
    )
    assert exception_classes(module) == ["One", "Two", "Three"]


def drawn(root: type[Exception], members: list[type[Exception]], indent: str = "    ") -> list[str]:
    """A line for each class, as the docstring draws it, without what stands behind the name."""
    lines = [root.__name__]
    children = [one for one in members if root in one.__bases__]
    for number, child in enumerate(children):
        last = number == len(children) - 1
        first, *rest = drawn(child, members)
        lines += [("└── " if last else "├── ") + first, *(("    " if last else "│   ") + line for line in rest)]
    return lines


def classes(module: ModuleType) -> list[type[Exception]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.__name__
    ]


def docstring(module: ModuleType) -> list[str]:
    """Its lines as they stand in the file: Python itself takes their indent away."""
    return Path(str(module.__file__)).read_text(encoding="utf-8").split('"""')[1].splitlines()


@pytest.mark.parametrize("module", [worker.errors, model.errors, gateway], ids=lambda one: one.__name__)
def test_the_tree_is_drawn_as_it_is(module: ModuleType) -> None:
    members = classes(module)
    trees = [drawn(members[0], members)]
    if module is worker.errors:
        (only,) = classes(worker.db.errors)
        trees.append(drawn(only.__bases__[0], [only]))
    names = re.compile(r"    ([│├└─ ]*[A-Z]\w+)(?: |$)")
    lines = [match[1] for line in docstring(module) if (match := names.match(line))]
    assert lines == [line for tree in trees for line in tree]


def test_every_status_is_in_the_table_of_the_gateways_errors() -> None:
    row = re.compile(r"    (0x[0-9A-F]{4})  (\S+) +\S")
    table = {(int(match[1], 16), match[2]) for line in docstring(gateway) if (match := row.match(line))}
    refusals = {one for one in classes(gateway) if issubclass(one, Refusal | ReportRefusal | RequestRefusal)}
    assert {*gateway.REFUSALS, *gateway.REPORT_REFUSALS, *gateway.REQUEST_REFUSALS, Refusal} == refusals
    others = {(gateway.SUCCESS, "success"), (gateway.UNRECOGNISED_OPERATION, "-")}
    assert table == others | {(refusal.status, refusal.__name__) for refusal in refusals}
    assert all(len(refusal.comment) <= 64 for refusal in refusals)


def test_no_module_of_the_worker_repeats_a_status() -> None:
    repeated = {
        str(path.relative_to(ROOT)): found
        for path in modules("worker")
        if (found := STATUS.findall(path.read_text(encoding="utf-8")))
    }
    assert repeated == {}
