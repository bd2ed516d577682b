"""Typed doors onto Linux. A door has no opinion: it does one thing that the kernel does, and says how it went."""
