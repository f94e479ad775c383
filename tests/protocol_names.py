"""The plugin's protocols as Scipion lists them: class name → label."""
PROTOCOLS = {"ProtCryosgdAbInitio": "cryosgd - ab initio",
             "ProtCryosgdAlignVolumes": "cryosgd - align volumes",
             "ProtCryosgdExpandSymmetry": "cryosgd - expand symmetry",
             "ProtCryosgdFlipHand": "cryosgd - flip hand",
             "ProtCryosgdImportParticles": "cryosgd - import particles",
             "ProtCryosgdPostprocess": "cryosgd - postprocess",
             "ProtCryosgdRefine": "cryosgd - refine (branch and bound)",
             "ProtCryosgdRefineSparseTV": "cryosgd - refine (sparse + TV)",
             "ProtCryosgdRemoveDuplicates": "cryosgd - remove duplicates",
             "ProtCryosgdSimulate": "cryosgd - simulate particles",
             "ProtCryosgdSplitByClass": "cryosgd - split by class",
             "ProtCryosgdValidate": "cryosgd - validate"}
