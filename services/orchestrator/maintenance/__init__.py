"""What an operator does beside the running service: migrate, check, back up, restore."""
