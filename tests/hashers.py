"""The product's password hash with a single round."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickHasher(PBKDF2PasswordHasher):
    """As strong as a test needs."""

    iterations = 1
