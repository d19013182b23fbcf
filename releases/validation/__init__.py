"""What is wrong with a bundle: small checks over its members, read once and never unpacked.

No module here imports Django: they run in the process that reads (`releases.validation.process`).
"""
