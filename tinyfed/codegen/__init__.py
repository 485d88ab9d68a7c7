"""C arrays from models: see docs/codegen.md."""
