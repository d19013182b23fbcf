"""What the event streams of people cost one gateway process, and how late they tell."""
