"""Small .tflite files for tests, packed with the generated schema of ai-edge-litert."""

from typing import Any

import numpy as np
from tflite_models import litert

# Option tables that are not named as their operator is.
TABLES = {
    "MAX_POOL_2D": "pool2d",
    "AVERAGE_POOL_2D": "pool2d",
    "MINIMUM": "maximumminimum",
    "MAXIMUM": "maximumminimum",
}
TABLES |= dict.fromkeys(("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN"), "reducer")


class Builder:
    """Tensors and operators in the order they are added; `content` is the file."""

    def __init__(self) -> None:
        self.schema: Any = litert("schema_py_generated")
        self.model = self.schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [self.schema.BufferT()]
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: list[int],
        dtype: str = "FLOAT32",
        scale: Any = None,
        zero_point: Any = 0,
        axis: int = 0,
        data: Any = None,
        name: str | None = None,
        signature: list[int] | None = None,
        variable: bool = False,
    ) -> int:
        """Add a tensor; its index."""
        s = self.schema
        tensor = s.TensorT()
        tensor.shape, tensor.type = shape, getattr(s.TensorType, dtype)
        tensor.name = name or f"t{len(self.graph.tensors)}"
        tensor.buffer, tensor.shapeSignature, tensor.isVariable = 0, signature, variable
        if scale is not None:
            quantization = s.QuantizationParametersT()
            quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            quantization.zeroPoint = np.broadcast_to(np.asarray(zero_point, np.int64), quantization.scale.shape).copy()
            quantization.quantizedDimension = axis
            tensor.quantization = quantization
        if data is not None:
            buffer = s.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, values: Any, **options: Any) -> int:
        """Add a constant with the type of its values."""
        array = np.asarray(values)
        return self.tensor(list(array.shape), array.dtype.name.upper(), data=array, **options)

    def operator(self, name: str, inputs: list[int], outputs: list[int], **options: Any) -> None:
        """Add an operator; `options` are the fields of its option table."""
        s = self.schema
        code = s.OperatorCodeT()
        code.builtinCode = getattr(s.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self.model.operatorCodes.append(code)
        operator = s.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes) - 1, inputs, outputs
        kinds = {kind.removesuffix("Options").lower(): kind for kind in vars(s.BuiltinOptions)}
        kind = kinds.get(TABLES.get(name, name.replace("_", "").lower()))
        if kind is not None:
            operator.builtinOptionsType = getattr(s.BuiltinOptions, kind)
            operator.builtinOptions = getattr(s, kind + "T")()
            for field, value in options.items():
                assert hasattr(operator.builtinOptions, field), field
                setattr(operator.builtinOptions, field, value)
        self.graph.operators.append(operator)

    def variables(self, first: dict[str, int]) -> dict[str, int]:
        """Handles of variables that begin with these constants of this graph's builder: CALL_ONCE and its subgraph."""
        main, handles = self.graph, {}
        self.operator("CALL_ONCE", [], [], initSubgraphIndex=len(self.model.subgraphs))
        for name in first:
            handles[name] = self.tensor([], "RESOURCE")
            self.operator("VAR_HANDLE", [], [handles[name]], sharedName=name)
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.model.subgraphs.append(self.graph)
        for name, constant in first.items():
            handle = self.tensor([], "RESOURCE")
            self.operator("VAR_HANDLE", [], [handle], sharedName=name)
            self.graph.tensors.append(main.tensors[constant])
            self.operator("ASSIGN_VARIABLE", [handle, len(self.graph.tensors) - 1], [])
        self.graph = main
        return handles

    def content(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The finished file."""
        import flatbuffers

        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
