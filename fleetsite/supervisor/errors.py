class UpError(Exception):
    """The portal cannot start; the message is one sentence for a person."""
