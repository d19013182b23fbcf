"""Kills a real agent at every system call of an update and looks which release runs then."""
