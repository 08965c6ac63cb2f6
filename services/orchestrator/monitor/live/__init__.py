"""What people really ask and are answered: a share, redacted, kept for a while, compared by windows."""
