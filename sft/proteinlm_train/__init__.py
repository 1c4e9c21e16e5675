"""Continued pretraining and fine-tuning: a thin layer over TRL that leaves a record of the run."""
