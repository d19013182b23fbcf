"""Support bundles: received in parts, read by a limited process, rewritten, looked at, retired.

Everything below `contents` is pure: it never imports Django and runs in a process of its own.
"""
