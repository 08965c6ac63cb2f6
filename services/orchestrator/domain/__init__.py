"""The method itself, pure: standard library and numpy alone, no input or output."""
