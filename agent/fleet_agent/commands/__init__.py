"""What a device can be told to do: one module per command type."""
