"""What planning, advancing and explaining a rollout to many devices costs."""
