"""What is inside an archive a device sent: read member by member, never unpacked.

No module here imports Django: they run in the process that reads (`commands.bundles.process`).
"""
