class EmbeddedError(Exception):
    """An embedded server cannot do what was asked; the message is one sentence for a person."""
