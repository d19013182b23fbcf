"""Updates of the application on this device: offered, verified, switched, or taken back."""
