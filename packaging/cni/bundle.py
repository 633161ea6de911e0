# noqa: INP001  (a script; `packaging` is no package of ours)
"""Makes dist/dpu-cni, the CNI plug-in as one executable file, from the modules of cni_plugin.

`python packaging/cni/bundle.py [TARGET]`. Modules are joined in the order of their imports, without docstrings,
comments and annotations. The file holds the text, and beside it what the interpreter that runs this made of the text:
to compile it at every call would cost a quarter of the start. Another version of the interpreter takes the text.
"""

import ast
import marshal
import os
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("codes", "frame", "deadline", "local", "daemon", "main")
"""Each imports only those before it."""
INTERPRETER = "#!/usr/bin/python3 -ISE"
"""Isolated and without site: nothing on the node can change what runs, and the start is twice as fast."""
HEADER = "# dpu-cni of dpupool, made from cni_plugin by packaging/cni/bundle.py: change it there."
EXECUTABLE = """\
{interpreter}
{header}
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import loads
TEXT = {text!r}
COMPILED = {compiled!r}
exec(loads(bytes.fromhex(COMPILED)) if MAGIC_NUMBER == {magic!r} else TEXT)
"""
"""What it imports is part of the interpreter."""


class BundleError(Exception):
    """The modules cannot be joined."""


def executable(text: str) -> str:
    """What the packages install: the text of the program as this interpreter compiles it, and the text itself."""
    code = marshal.dumps(compile(text, "dpu-cni", "exec", dont_inherit=True, optimize=2))
    return EXECUTABLE.format(interpreter=INTERPRETER, header=HEADER, text=text, compiled=code.hex(), magic=MAGIC_NUMBER)


def bundle(package: Path) -> str:
    """The modules as one text.

    Args:
        package: folder of cni_plugin.

    Raises:
        BundleError: two modules define one name, or one imports what does not stand before it.
    """
    owners: dict[str, str] = {}
    imports: dict[str, None] = {}
    body: list[str] = []
    for module in MODULES:
        joined = _Joined(package.name, module, owners)
        tree = joined.visit(ast.parse((package / f"{module}.py").read_text(encoding="utf-8")))
        for statement in tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                imports[ast.unparse(statement)] = None
            else:
                _own(owners, module, statement)
                body.append(ast.unparse(statement))
    return "\n".join([*imports, *body]) + "\n"


def write(text: str, target: Path) -> None:
    """Put the executable in place by renaming, so that a runtime never starts half of it nor finds it busy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o755)
    fresh.replace(target)


class _Joined(ast.NodeTransformer):
    """A module without its docstrings, its functions' annotations and its imports of siblings."""

    def __init__(self, package: str, module: str, owners: dict[str, str]) -> None:
        self._package = package
        self._module = module
        self._owners = owners

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        package, _, sibling = (node.module or "").partition(".")
        if package != self._package:
            return node
        for name in node.names:
            if name.asname or self._owners.get(name.name) != sibling:
                where = f"{self._module}, line {node.lineno}"
                raise BundleError(f"{where}: import {name.name} from a module that stands before, under its own name")
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        return None if isinstance(node.value, ast.Constant) else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.returns = None
        node.body = node.body or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


def _own(owners: dict[str, str], module: str, statement: ast.stmt) -> None:
    names: list[str] = []
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        names = [statement.name]
    elif isinstance(statement, ast.Assign):
        names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
    for name in names:
        if owners.setdefault(name, module) != module:
            raise BundleError(f"{name} is defined in {owners[name]} and in {module}: rename one")


if __name__ == "__main__":
    write(
        executable(bundle(ROOT / "cni_plugin")), Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / "dpu-cni"
    )
