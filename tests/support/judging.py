"""An answer judged, and a text kept, as a node does it, but checked without bounds."""

from services.executor.models.answer import Accepted, Answer, judge
from services.executor.models.provider import ModelRequest
from services.executor.tries import Tries
from shared.schemas import answer_fault


def judged(request: ModelRequest, answer: Answer, *, may_go_on: bool = False) -> Accepted:
    """Raises: ModelError."""
    return judge(request, answer, schema_fault=_fault(request, answer.text), may_go_on=may_go_on)


def kept(tries: Tries) -> Accepted | None:
    return tries.kept(_fault(tries.asked, tries.said))


def _fault(request: ModelRequest, text: str) -> str | None:
    schema = request.output_schema
    return None if schema is None or not text.strip() else answer_fault(text, schema)
