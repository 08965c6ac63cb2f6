"""Many generator replicas behind the one port: who is there, who is well, who gets the next item."""
