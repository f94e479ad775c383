"""
@article{Punjani2017a,
    author = {Punjani, Ali and Rubinstein, John L. and Fleet, David J. and Brubaker, Marcus A.},
    title = {{cryoSPARC}: algorithms for rapid unsupervised cryo-{EM} structure determination},
    journal = {Nature Methods},
    volume = {14},
    number = {3},
    pages = {290--296},
    year = {2017},
    doi = {http://doi.org/10.1038/nmeth.4169}
}

@article{Punjani2017b,
    author = {Punjani, Ali and Brubaker, Marcus A. and Fleet, David J.},
    title = {Building Proteins in a Day: Efficient {3D} Molecular Structure Estimation with Electron Cryomicroscopy},
    journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
    volume = {39},
    number = {4},
    pages = {706--718},
    year = {2017},
    doi = {http://doi.org/10.1109/TPAMI.2016.2627573}
}

@misc{Punjani2015,
    author = {Punjani, Ali and Brubaker, Marcus A.},
    title = {Microscopic Advances with Large-Scale Learning: Stochastic Optimization for Cryo-{EM}},
    journal = {arXiv},
    year = {2015},
    url = {https://arxiv.org/abs/1501.04656}
}

@misc{Luo2020,
    author = {Luo, Zhenwei},
    title = {Improving the resolution of Cryo-{EM} single particle analysis},
    journal = {arXiv},
    year = {2020}
}

@article{Luo2021,
    author = {Luo, Zhenwei and Campos-Acevedo, Adam A. and Lv, Longfei and Wang, Qinghua and Ma, Jianpeng},
    title = {Sparseness and Smoothness Regularized Imaging for improving the resolution of Cryo-{EM} single-particle
        reconstruction},
    journal = {Proceedings of the National Academy of Sciences},
    volume = {118},
    number = {2},
    pages = {e2013756118},
    year = {2021},
    doi = {http://doi.org/10.1073/pnas.2013756118}
}

@article{Gorski2005,
    author = {G{\\'o}rski, K. M. and Hivon, E. and Banday, A. J. and Wandelt, B. D. and Hansen, F. K. and Reinecke, M.
        and Bartelmann, M.},
    title = {{HEALPix}: a framework for high-resolution discretization and fast analysis of data distributed on the
        sphere},
    journal = {The Astrophysical Journal},
    volume = {622},
    number = {2},
    pages = {759--771},
    year = {2005},
    doi = {http://doi.org/10.1086/427976}
}
"""
