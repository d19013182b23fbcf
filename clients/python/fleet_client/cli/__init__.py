"""The program `fleet`."""
