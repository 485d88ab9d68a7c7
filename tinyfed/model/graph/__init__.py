"""Float networks on their way from Keras or TFLite to the engine: one description for both (docs/convert.md).

- `nodes`: what a network is, node by node
- `simplify`: what is folded and dropped
- `program`: nodes as operators of a program
- `convert`: layers that learn, a program that runs, or both
"""

from tinyfed.model.graph.convert import Converted, Program, convert_graph
from tinyfed.model.graph.nodes import BINARY, MOST_NODES, Graph, Node

__all__ = ["BINARY", "MOST_NODES", "Converted", "Graph", "Node", "Program", "convert_graph"]
