"""Who watches a run. Each observer can be deleted without touching anything else."""
