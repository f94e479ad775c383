"""CryoSGD: from particle images to a 3D map by stochastic gradient descent, in Scipion and without it.

Importing this package loads neither Scipion nor an engine, so that the engines run where Scipion isn't installed.
"""

__version__ = "0.1.0"

# Scipion reads these two from the package: the picture on every form, and what to cite for the plugin as a whole
_logo = "cryosgd_logo.png"
_references = ["Punjani2017a", "Punjani2017b"]


def __getattr__(name):
    if name == "Plugin":  # asked for by Scipion's plugin discovery, which is there then
        from .plugin import Plugin
        return Plugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
