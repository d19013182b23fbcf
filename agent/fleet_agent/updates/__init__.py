"""Updates of the application on this device: whom to believe, what to install, how to go back."""
