"""Runs in their folders: what the command line and the Scipion protocols start."""
from .abinitio import AbInitioJob
from .restarts import RestartsJob

__all__ = ["AbInitioJob", "RestartsJob"]
