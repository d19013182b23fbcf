"""How well and how fast secrets are taken out of support bundles."""
