"""Train models on your data: `pixweave train NAME DATA --out FILE`.

sources.py         reads images and captions from folders, tables and packed data
dataset.py         all images at one size, in one array on disk, with a held-out split
plan.py            the checked request, from the command line and a configuration file
config_schema.py   the JSON Schema of such a file, for editors
work_folder.py     the work folder: checkpoint, log, samples
training_loop.py   the training loop                                   <- start reading here

Importing this package does not import torch.
"""

from pixweave.train.dataset import Dataset
from pixweave.train.plan import Plan, TrainContext, make_plan

__all__ = ["Dataset", "Plan", "TrainContext", "make_plan"]
