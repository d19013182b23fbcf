"""What the portal can be asked for, written once for both clients."""
