"""What each button of each viewer opens: the window's class, and words that stand in it; None for Scipion's own."""
FIGURE, VOLUME, COMPARE, TABLE = "FigureWindow", "VolumeWindow", "CompareWindow", "TableWindow"

# of runs of several classes
OF_RUNS = {
    "showVolume": (VOLUME, "class 1"),
    "showHalves": (VOLUME, "class 1, final volume"),
    "showCompare": (COMPARE, "class 2"),
    "showFsc": (FIGURE, "Fourier shell correlation"),
    "showDirections": (FIGURE, "view directions of"),
    "showClasses": ("ClassSheetWindow", "class 2"),
    "showProgress": (FIGURE, "slices z = 0 of 2 classes"),
    "showHistory": (FIGURE, "class shares (%)"),
    "showSummary": (TABLE, "outcome"),
}
BUTTONS = {
    "CryosgdAbInitioViewer": {
        **OF_RUNS,
        "showImportance": (FIGURE, "importance distribution"),
        "showRestarts": (FIGURE, "restart_01"),
        "showAligned": (COMPARE, "restart_01"),
    },
    "CryosgdRefineViewer": {
        **OF_RUNS,
        "showMask": (VOLUME, "mask"),
        "showSpectra": (FIGURE, ", iteration "),
        "showCertificate": (FIGURE, "same best pose"),
        "showParticles": (FIGURE, "width of the best pose"),
    },
    "CryosgdValidateViewer": {
        "showVolume": (VOLUME, "sharpened map"),
        "showFsc": (FIGURE, "half-maps, corrected"),
        "showGuinier": (FIGURE, "Guinier"),
        "showLocal": (FIGURE, "on the sharpened map"),
        "showLocalHistogram": (FIGURE, "median"),
        "showCones": (FIGURE, "area ratio"),
        "showViews": (FIGURE, "view directions of"),
        "showSampling": (FIGURE, "SCF*"),
        "showModelFsc": (FIGURE, "map and model"),
        "showModel": (VOLUME, "sharpened map"),
        "showPixelScan": (FIGURE, "best"),
        "showSummary": (TABLE, "outcome"),
    },
    "CryosgdSimulateViewer": {
        "showParticles": None,
        "showVolume": (VOLUME, "volume 1"),
        "showDirections": (FIGURE, "view directions of"),
    },
    "CryosgdConsensusViewer": {
        "showPairs": (FIGURE, "show the same structure"),
        "showAligned": (COMPARE, "consensus"),
    },
    "CryosgdSymmetryViewer": {
        "showGroups": (FIGURE, "C3 fits"),
        "showTable": (TABLE, "correlation under its weakest operator"),
        "showTurned": (COMPARE, "on the axes of C3"),
    },
}
