"""C arrays from models: see docs/codegen.md.

- `c_text`: C literals and names
- `example`: a program that uses the arrays
- `from_model`: what to write, gathered from a model file
- `generate`: the header and the source
"""

__all__ = ["c_text", "example", "from_model", "generate"]
