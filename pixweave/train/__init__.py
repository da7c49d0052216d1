"""Train models of your own: `pixweave train NAME DATA --out FILE`.

sources.py   folders, tables and packed data: where pictures and captions come from
dataset.py   all of them at one size, in one array on disk, with a held-out share
plan.py      what was asked for, from the command line and a configuration, checked
work.py      the work folder: checkpoint, log, samples
loop.py      the steps themselves                                      <- start reading here

Importing this package does not import torch.
"""

from pixweave.train.dataset import Dataset
from pixweave.train.plan import Plan, TrainContext, make_plan

__all__ = ["Dataset", "Plan", "TrainContext", "make_plan"]
