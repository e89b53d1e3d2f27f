"""What every training needs: options, batches, the loop on Lightning's Fabric, checkpoints, logs and files of networks.

A family gives a dataclass of `TrainingOptions`, its pictures as `TrainingExamples`, its network with the loss and the
optimiser as `Training`, and how its networks are saved, together as a `Task`; `run.run` does the rest.
"""
