"""The program that runs on a device: it sends heartbeats and carries out commands."""

__version__ = "0.1.0"
