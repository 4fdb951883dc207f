"""What the docstrings beneath the fields of a module's classes say: Python itself forgets them."""

import ast
from itertools import pairwise
from pathlib import Path
from types import ModuleType

type Texts = dict[str, str]
"""By field; the class's own under the empty name."""


def field_texts(module: ModuleType) -> dict[str, Texts]:
    """Return the texts of a module's classes, by class.

    Args:
        module: A module with a file.
    """
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> Texts:
    texts = {"": ast.get_docstring(node) or ""}
    for field, after in pairwise(node.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = text
            case _:
                pass
    return texts
