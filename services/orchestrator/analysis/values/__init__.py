"""FULCRA's value space: ten scores an output, how far they can be trusted, distances to a target."""
