"""Measure, train and publish language models that understand proteins.

This module stays free of imports: the startup hook (`_autoload`) runs in every Python process.
"""

__version__ = "0.1.0"
