"""What a run will cost, before it begins: counts from the study, memory from the model's shape, seconds from
what was measured. Pure but for ``service``, which looks past runs up."""
