"""Research about the product, not in the wheel: where the figures in the docs come from."""
