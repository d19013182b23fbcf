"""Kills a real agent at every system call of an update and looks which release runs then."""

# In a device's folder: the number the kernel knows the thread by that updates, left by itself.
THREAD_FILE = "update_thread"
