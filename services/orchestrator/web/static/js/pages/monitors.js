// Monitors: what is watched, and how it stands.
