"""Float networks on their way from Keras or TFLite to the engine: one description for both (docs/convert.md).

- `nodes`: what a network is, node by node
- `simplify`: what is folded and dropped
- `convert`: a chain that learns, else a program that runs
"""

from tinyfed.model.graph.convert import Converted, convert_graph
from tinyfed.model.graph.nodes import MOST_NODES, Graph, Node

__all__ = ["MOST_NODES", "Converted", "Graph", "Node", "convert_graph"]
