"""Instances and what happens to them: the layer that every face calls."""
