"""A model layer by layer: shapes, parameters, multiply-adds and bytes."""

import math
from dataclasses import dataclass

from tinyfed.model.plan import Plan, align, plan_records
from tinyfed.model.records import TRAIN_BIAS, TRAIN_WEIGHTS, Record, lower
from tinyfed.model.spec import ModelSpec, Shape


@dataclass(frozen=True)
class LayerSummary:
    """One layer; bytes are of its output tensor."""

    index: int
    kind: str
    activation: str
    shape: Shape  # of the output
    inputs: tuple[int, ...]  # tensors
    parameters: int
    learns: str  # "all", "weights", "bias", "statistics" or ""
    multiply_adds: int  # of the forward pass
    activation_bytes: int
    gradient_bytes: int  # 0: not needed
    activation_at: int | None  # offset in the work area; None: the input itself
    gradient_at: int | None  # where, often over values that are needed no longer; None: not needed


def multiply_adds(record: Record) -> int:
    """Of one forward pass, padding included."""
    pixels = math.prod(record.shape[:-1])
    match record.kind:
        case "dense" | "conv2d":
            return pixels * math.prod(record.parameter_shapes[0])
        case "depthwise" | "scale":
            return pixels * math.prod(record.parameter_shapes[0])
        case _:
            return 0


def _learns(record: Record) -> str:
    if record.kind == "standardize":
        return "statistics"
    weights, bias = bool(record.flags & TRAIN_WEIGHTS), bool(record.flags & TRAIN_BIAS)
    if weights:
        return "all" if bias or len(record.parameter_shapes) == 1 else "weights"
    return "bias" if bias else ""


def _place(plan: Plan, tensor: int) -> int | None:
    return plan.activation_at[tensor - 1] if tensor else None


def summarize(spec: ModelSpec, mode: str = "online") -> list[LayerSummary]:
    """The layers of a model in a mode of the plan."""
    records = lower(spec)
    plan = plan_records(records, mode, spec.frozen)
    rows = []
    for index, record in enumerate(records):
        own = align(4 * math.prod(record.shape))
        at, gradient_at = plan.activation_at[index], plan.gradient_at[index]
        in_place = record.kind in ("reshape", "activation", "add", "scale") and _place(plan, record.input) == at
        rows.append(
            LayerSummary(
                index,
                record.kind,
                record.activation,
                record.shape,
                record.inputs,
                record.parameter_count,
                _learns(record),
                multiply_adds(record),
                0 if in_place else own,
                0 if gradient_at is None else own,
                at,
                gradient_at,
            )
        )
    return rows
