// One monitor.
