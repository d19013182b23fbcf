"""The event stream of people and API keys: what happens in their organisation, as it happens."""
