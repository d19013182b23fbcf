"""Kills a real agent at every system call of a command's life and counts what it does twice."""
