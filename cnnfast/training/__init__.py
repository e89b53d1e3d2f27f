"""What trainings have in common: steps, batches, checkpoints, logs, and the loop, on Lightning's Fabric."""
