"""Reading the project's own Python files without running them: which modules each one imports, and when."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "TwinCore": ROOT / "TwinCore",
    "TwinPanel": ROOT / "TwinPanel",
    "TwinApp": ROOT / "TwinApp",
    **{f"{name}Lib": ROOT / name / f"{name}Lib" for name in ("TwinFusion", "TwinSegment", "TwinSimulate")},
}
MODULES = ("TwinFusion", "TwinSegment", "TwinSimulate")


@dataclass(frozen=True)
class Import:
    """One imported module, by its full dotted name; not `at_file_scope` if it is imported only when a function runs."""

    module: str
    line: int
    at_file_scope: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def is_standard_library(self) -> bool:
        return self.top in sys.stdlib_module_names


def imports_of(source: str, package: str = "") -> list[Import]:
    """Every import in a Python file, wherever it stands, as names that are absolute.

    `package` is the dotted name of the package that the file belongs to, for relative imports. An import made through
    `importlib.import_module` or `__import__` with a literal name counts; so does one under `if TYPE_CHECKING`, but
    not as one at file scope.
    """
    return list(_walk(ast.parse(source), package, at_file_scope=True))


def _walk(node: ast.AST, package: str, at_file_scope: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_file_scope) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, package)
            # `from package import name` may import the module package.name: both are reported.
            yield Import(base, child.lineno, at_file_scope)
            yield from (Import(f"{base}.{alias.name}", child.lineno, at_file_scope) for alias in child.names)
        elif isinstance(child, ast.Call) and _is_import_call(child):
            yield Import(child.args[0].value, child.lineno, at_file_scope)
        runs_now = at_file_scope and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, package, runs_now and not _is_type_checking(child))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module
    parts = package.split(".")
    parents = parts[: len(parts) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _is_import_call(node: ast.Call) -> bool:
    name = ast.unparse(node.func)
    literal = node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    return bool(literal) and name in ("__import__", "import_module", "importlib.import_module")


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def package_of(path: Path) -> str:
    """Dotted name of the package that a file of this tree belongs to; "" for a file in none, such as X.py."""
    for name, folder in PACKAGES.items():
        if path.is_relative_to(folder):
            return ".".join([name, *path.relative_to(folder).parent.parts])
    return ""


def file_of(module: str) -> Path | None:
    """The file of this tree that a dotted module name stands for; None if it is not ours."""
    top, *rest = module.split(".")
    if top not in PACKAGES:
        return None
    path = PACKAGES[top].joinpath(*rest)
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def needed_to_import(path: Path) -> dict[str, Path]:
    """Modules from outside this tree that importing one file brings in, each with the file of ours that asks for it."""
    outside: dict[str, Path] = {}
    todo, seen = [path], set()
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        for found in imports_of(file.read_text(encoding="utf-8"), package_of(file)):
            if not found.at_file_scope or found.is_standard_library:
                continue
            if found.top not in PACKAGES:
                outside.setdefault(found.top, file)
                continue
            # Importing a.b.c runs a, a.b and a.b.c.
            parts = found.module.split(".")
            ours = (file_of(".".join(parts[: n + 1])) for n in range(len(parts)))
            todo.extend(file for file in ours if file is not None)
    return outside
