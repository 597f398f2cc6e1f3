"""Studies: many runs that belong together, their statistics, pictures and report."""
