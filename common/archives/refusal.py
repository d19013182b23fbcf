"""Why an archive is not read any further."""


class ArchiveRefused(Exception):
    """The archive breaks a rule; the message says which, in words for people."""
