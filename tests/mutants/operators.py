"""Small changes to Python source, one at a time, that a good test must notice.

A mutant changes one place: a comparison, an operator of arithmetic or logic, a condition, a number, a truth value, or
drops a statement or what is returned. Text, docstrings, annotations, decorators, assertions and protocols stay.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

_N = TypeVar("_N", bound=ast.AST)

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr, ast.MatMult: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: `source[start:end]` becomes `new`."""

    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str

    def applied(self, source: str) -> str:
        """The source with this change."""
        return source[: self.start] + self.new + source[self.end :]


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module's source, in the order of the text."""
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line))

    def offset(line: int, column: int) -> int:
        return begins[line - 1] + len(lines[line - 1].encode()[:column].decode())

    found = {}
    for node, kind, new in _changes(tree):
        start = offset(node.lineno, node.col_offset)
        assert node.end_lineno is not None and node.end_col_offset is not None
        end = offset(node.end_lineno, node.end_col_offset)
        old = source[start:end]
        if new != old:
            found[start, end, new] = Mutant(node.lineno, kind, start, end, old, new)
    return sorted(found.values(), key=lambda mutant: (mutant.start, mutant.end, mutant.new))


Change = tuple[ast.expr | ast.stmt, str, str]


def _changes(tree: ast.Module) -> Iterator[Change]:
    for node in _code(tree):
        if isinstance(node, ast.stmt):
            yield from _of_statement(node)
        if isinstance(node, ast.expr):
            yield from _of_expression(node)
        if isinstance(node, ast.If | ast.While | ast.IfExp) and not _negated_by_comparison(node.test):
            yield node.test, "condition negated", f"(not ({ast.unparse(node.test)}))"


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below that may be changed, without text, docstrings, annotations, decorators and assertions."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "keywords") and not isinstance(
            node, ast.Call
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Assert):
                if isinstance(child, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in child.bases):
                    continue
                if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                    continue
                if isinstance(child, ast.Assign) and _is_type_alias(child):
                    continue
                yield from _code(child)


def _is_type_alias(node: ast.Assign) -> bool:
    value = node.value
    return isinstance(value, ast.BinOp | ast.Subscript) and all(
        isinstance(part, ast.BinOp | ast.BitOr | ast.Name | ast.Attribute | ast.Load | ast.Subscript | ast.Tuple)
        for part in ast.walk(value)
        if not (isinstance(part, ast.Constant) and part.value is None)
    )


def _of_statement(node: ast.stmt) -> Iterator[Change]:
    places = node.targets if isinstance(node, ast.Assign) else []
    stored = bool(places) and all(isinstance(place, ast.Attribute | ast.Subscript) for place in places)
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if stored or called or isinstance(node, ast.Raise | ast.Delete | ast.AugAssign):
        yield node, "statement dropped", "pass"
    if isinstance(node, ast.AugAssign):
        yield node, "arithmetic", ast.unparse(_with(node, op=_ARITHMETIC[type(node.op)]()))
    elif isinstance(node, ast.Break):
        yield node, "break to continue", "continue"
    elif isinstance(node, ast.Continue):
        yield node, "continue to break", "break"
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield node, "None returned", "return None"


def _of_expression(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            operators = [*node.ops]
            operators[place] = _COMPARISONS[type(operator)]()
            yield node, "comparison", ast.unparse(_with(node, ops=operators))
    elif isinstance(node, ast.BinOp):
        yield node, "arithmetic", f"({ast.unparse(_with(node, op=_ARITHMETIC[type(node.op)]()))})"
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield node, "logic", f"({ast.unparse(_with(node, op=other))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node, "sign or negation dropped", f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield node, "truth value", str(not node.value)
        elif isinstance(node.value, int):
            yield node, "number", str(node.value + 1)
        elif isinstance(node.value, float):
            yield node, "number", repr(node.value + 1.0)


def _with(node: _N, **fields: object) -> _N:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _negated_by_comparison(node: ast.expr) -> bool:
    """Whether the comparison's own mutant is its negation already."""
    exact = ast.Eq | ast.NotEq | ast.In | ast.NotIn | ast.Is | ast.IsNot
    return isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], exact)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
