"""The registry: which adapters there are, where each stands, and which of them speaks to the public."""
