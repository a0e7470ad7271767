"""What can be said of a template without rendering it. Pure.

Nothing of it is computed here: `{{ 9**9**9 }}` is one more expression, not a number to work out.
"""

import functools
import io

from jinja2 import TemplateError, meta, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.idtracking import VAR_LOAD_RESOLVE
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.templates import FILTERS, ONE_EXPRESSION, TemplateProblem, without_chance

_TOO_MUCH = "can not be read: it is nested too deeply, or has a number that is too large"


@pass_context
def _as_it_is(_: Context, value: object) -> object:
    return value


# Jinja works constant expressions out while it compiles, unless it is told not to and what it prints depends on the
# context.
_ENVIRONMENT = without_chance(ImmutableSandboxedEnvironment(optimized=False, finalize=_as_it_is))
_ENVIRONMENT.filters |= FILTERS


class _Names(CodeGenerator):
    """Takes down the free names while it compiles. Jinja's own search for them works constants out whatever its
    environment says, and compiles a second time.
    """

    def __init__(self) -> None:
        self.written = io.StringIO()
        super().__init__(_ENVIRONMENT, "<names>", "<names>", self.written, optimized=False)
        self.free: set[str] = set()

    def enter_frame(self, frame: Frame) -> None:
        super().enter_frame(frame)
        self.free |= {
            name for action, name in frame.symbols.loads.values() if action == VAR_LOAD_RESOLVE and name
        }


@functools.lru_cache(maxsize=1024)
def names(source: str) -> frozenset[str]:
    """The free names of a template that can be compiled.

    Raises: TemplateProblem, with the line, when it can not.
    """
    try:
        tree = _ENVIRONMENT.parse(source)
        if any(True for _ in meta.find_referenced_templates(tree)):
            raise TemplateProblem("can not include, import or extend another template")
        search = _Names()
        search.visit(tree)
        # what comes of it must be a program too: Python has bounds of its own
        compile(search.written.getvalue(), "<names>", "exec", dont_inherit=True)
        return frozenset(search.free - _ENVIRONMENT.globals.keys())
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        first = str(error).partition("\n")[0]
        raise TemplateProblem(f"line {line}: {first}" if line else first) from None
    except (RecursionError, ValueError, SyntaxError, OverflowError, MemoryError):
        raise TemplateProblem(_TOO_MUCH) from None


@functools.lru_cache(maxsize=1024)
def expression_names(source: str) -> frozenset[str]:
    """The free names of one expression in `{{ }}`.

    Raises: TemplateProblem, also when it is a text, or several expressions.
    """
    found = names(source)
    try:
        _ENVIRONMENT.parse(_in_parentheses(source))
    except (TemplateProblem, TemplateError, RecursionError):
        raise TemplateProblem("must be one expression in {{ }}, such as {{ outline.parts }}") from None
    return found


def _in_parentheses(source: str) -> str:
    """What can not be parsed unless `source` is one expression: two look like one from outside.

    Raises: TemplateProblem, when it does not even look like one.
    """
    match = ONE_EXPRESSION.match(source)
    if match is None:
        raise TemplateProblem("is no expression")
    return "{{ (" + match["expression"] + ") }}"


def tree(source: str) -> nodes.Template:
    """Of a template that `names` accepts."""
    return _ENVIRONMENT.parse(source)


def expression_tree(source: str) -> nodes.Node:
    """Of an expression that `expression_names` accepts."""
    (output,) = _ENVIRONMENT.parse(_in_parentheses(source)).body
    (expression,) = output.iter_child_nodes()
    return expression
