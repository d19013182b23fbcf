"""Archives of strangers: read member by member within a budget, never unpacked.

No module here imports Django: they run in processes that read and can do nothing else.
"""
