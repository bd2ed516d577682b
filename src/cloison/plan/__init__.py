"""What cloison will do to the kernel, as values: steps, plans, their bytes and their explanation. Pure."""
