"""Variables of a .tflite model: what an operator writes in one run and another reads in the next.

VAR_HANDLE names a variable, READ_VARIABLE and ASSIGN_VARIABLE use it, and CALL_ONCE calls the subgraph that gives it a
constant to begin with. A variable that nothing initializes begins at real 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError
from tinyfed.model.tflite.file import Operator, Tensor, TfliteModel
from tinyfed.model.tflite.view import View

LOOPS = ("IF", "WHILE")
LOOP_REMEDY = (
    "a loop or a branch over subgraphs; Keras writes one for GRU, LSTM and RNN layers: build the model with "
    "unroll=True in that layer (the weights stay as they are) and convert it again"
)


class Variables:
    """Of the model's first subgraph, by name."""

    def __init__(self, model: TfliteModel) -> None:
        self._model = model
        self._handles = _handles(model.operators, model.source)
        self._constants: dict[str, Tensor] = {}
        for operator in model.operators:
            if operator.name == "CALL_ONCE":
                self._initialize(View(model, operator))

    def _initialize(self, view: View) -> None:
        """What the subgraph of a CALL_ONCE assigns. Raises ConvertError where that is not a constant."""
        number = view.operator.options["subgraph"]
        view.require(1 <= number <= len(self._model.others), f"calls subgraph {number}, which is not there")
        graph = self._model.others[number - 1]
        handles = _handles(graph.operators, self._model.source)
        for operator in graph.operators:
            if operator.name == "VAR_HANDLE":
                continue
            if operator.name != "ASSIGN_VARIABLE" or len(operator.inputs) != 2 or operator.inputs[0] not in handles:
                view.refuse(f"its subgraph has {operator}: the engine initializes variables with constants only")
            value = graph.tensors[operator.inputs[1]]
            if value.data is None:
                view.refuse(f"its subgraph assigns {value}, which is no constant")
            self._constants[handles[operator.inputs[0]]] = value

    def name_of(self, view: View) -> str:
        """Of the variable whose handle is the operator's first operand."""
        handle = view.input(0)
        if handle.index not in self._handles:
            view.refuse(f"{handle} is no variable of this model: convert it again")
        return self._handles[handle.index]

    def constant(self, name: str) -> NDArray[Any] | None:
        """What the variable begins with; None where nothing says it."""
        return self._constants[name].data if name in self._constants else None

    def first(self, name: str, zero_point: int) -> bytes:
        """The first value's bytes; `zero_point` in all of them where nothing says another."""
        values = self.constant(name)
        if values is None:
            shape = next(t.shape for t in self._uses(name))
            values = np.full(shape, zero_point, np.int8)
        return values.tobytes()

    def _uses(self, name: str) -> list[Tensor]:
        """Values that are read from the variable or assigned to it."""
        found = []
        for operator in self._model.operators:
            if operator.name in ("READ_VARIABLE", "ASSIGN_VARIABLE") and self._handles[operator.inputs[0]] == name:
                found.append(self._model.tensors[(*operator.inputs[1:], *operator.outputs)[0]])
        return found

    def changes_before_last_use(self, view: View) -> bool:
        """Whether the variable that READ_VARIABLE reads is assigned before the last operator that takes the value."""
        name, value = self.name_of(view), view.output.index
        operators = self._model.operators
        last = max((o.index for o in operators if value in o.inputs), default=view.operator.index)
        if value in self._model.outputs:
            last = len(operators)
        return any(
            o.name == "ASSIGN_VARIABLE" and self._handles.get(o.inputs[0]) == name and value != o.inputs[1]
            for o in operators[view.operator.index : last]
        )


def _handles(operators: tuple[Operator, ...], source: str) -> dict[int, str]:
    """The variable's name of each handle's tensor."""
    found = {}
    for operator in operators:
        if operator.name == "VAR_HANDLE":
            if len(operator.outputs) != 1:
                raise ConvertError(f"{len(operator.outputs)} handles, expected one", where=source, key=str(operator))
            options = operator.options
            name = "/".join(part for part in (options["container"], options["shared_name"]) if part)
            found[operator.outputs[0]] = name or "state"
    return found
