"""Measure, train and publish language models that understand proteins."""

__version__ = "0.1.0"
