"""The rows, one module per bar. Each module has `rows`, which measures and yields them."""
