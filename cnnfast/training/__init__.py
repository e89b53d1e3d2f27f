"""What trainings have in common: steps, batches, checkpoints, logs, and the loop by Lightning."""
