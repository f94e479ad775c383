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
    author = {Górski, K. M. and Hivon, E. and Banday, A. J. and Wandelt, B. D. and Hansen, F. K. and Reinecke, M.
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

@article{Saff1997,
    author = {Saff, E. B. and Kuijlaars, A. B. J.},
    title = {Distributing many points on a sphere},
    journal = {The Mathematical Intelligencer},
    volume = {19},
    number = {1},
    pages = {5--11},
    year = {1997},
    doi = {http://doi.org/10.1007/BF03024331}
}

@article{LeRoux2012,
    author = {Le Roux, Nicolas and Schmidt, Mark and Bach, Francis},
    title = {A stochastic gradient method with an exponential convergence rate for finite training sets},
    journal = {Advances in Neural Information Processing Systems},
    volume = {25},
    pages = {2663--2671},
    year = {2012}
}

@article{Sutskever2013,
    author = {Sutskever, Ilya and Martens, James and Dahl, George and Hinton, Geoffrey},
    title = {On the importance of initialization and momentum in deep learning},
    journal = {Proceedings of Machine Learning Research},
    volume = {28},
    number = {3},
    pages = {1139--1147},
    year = {2013}
}

@article{Duchi2011,
    author = {Duchi, John and Hazan, Elad and Singer, Yoram},
    title = {Adaptive subgradient methods for online learning and stochastic optimization},
    journal = {Journal of Machine Learning Research},
    volume = {12},
    pages = {2121--2159},
    year = {2011}
}

@article{LeRoux2007,
    author = {Le Roux, Nicolas and Manzagol, Pierre-Antoine and Bengio, Yoshua},
    title = {Topmoumoute online natural gradient algorithm},
    journal = {Advances in Neural Information Processing Systems},
    volume = {20},
    pages = {849--856},
    year = {2007}
}

@article{Schraudolph2007,
    author = {Schraudolph, Nicol N. and Yu, Jin and Günter, Simon},
    title = {A stochastic quasi-{Newton} method for online convex optimization},
    journal = {Proceedings of Machine Learning Research},
    volume = {2},
    pages = {436--443},
    year = {2007}
}

@article{Martens2010,
    author = {Martens, James},
    title = {Deep learning via {Hessian}-free optimization},
    journal = {Proceedings of the 27th International Conference on Machine Learning},
    pages = {735--742},
    year = {2010}
}

@article{Scheres2012,
    author = {Scheres, Sjors H. W.},
    title = {A {Bayesian} view on cryo-{EM} structure determination},
    journal = {Journal of Molecular Biology},
    volume = {415},
    number = {2},
    pages = {406--418},
    year = {2012},
    doi = {http://doi.org/10.1016/j.jmb.2011.11.010}
}

@article{Scheres2016,
    author = {Scheres, Sjors H. W.},
    title = {Processing of structurally heterogeneous cryo-{EM} data in {RELION}},
    journal = {Methods in Enzymology},
    volume = {579},
    pages = {125--157},
    year = {2016},
    doi = {http://doi.org/10.1016/bs.mie.2016.04.012}
}

@article{Scheres2012b,
    author = {Scheres, Sjors H. W. and Chen, Shaoxia},
    title = {Prevention of overfitting in cryo-{EM} structure determination},
    journal = {Nature Methods},
    volume = {9},
    number = {9},
    pages = {853--854},
    year = {2012},
    doi = {http://doi.org/10.1038/nmeth.2115}
}

@article{Rosenthal2003,
    author = {Rosenthal, Peter B. and Henderson, Richard},
    title = {Optimal determination of particle orientation, absolute hand, and contrast loss in single-particle
        electron cryomicroscopy},
    journal = {Journal of Molecular Biology},
    volume = {333},
    number = {4},
    pages = {721--745},
    year = {2003},
    doi = {http://doi.org/10.1016/j.jmb.2003.07.013}
}

@article{Chen2013,
    author = {Chen, Shaoxia and McMullan, Greg and Faruqi, Abdul R. and Murshudov, Garib N. and Short, Judith M. and
        Scheres, Sjors H. W. and Henderson, Richard},
    title = {High-resolution noise substitution to measure overfitting and validate resolution in {3D} structure
        determination by single particle electron cryomicroscopy},
    journal = {Ultramicroscopy},
    volume = {135},
    pages = {24--35},
    year = {2013},
    doi = {http://doi.org/10.1016/j.ultramic.2013.06.004}
}

@article{Tan2017,
    author = {Tan, Yong Zi and Baldwin, Philip R. and Davis, Joseph H. and Williamson, James R. and Potter, Clinton S.
        and Carragher, Bridget and Lyumkis, Dmitry},
    title = {Addressing preferred specimen orientation in single-particle cryo-{EM} through tilting},
    journal = {Nature Methods},
    volume = {14},
    number = {8},
    pages = {793--796},
    year = {2017},
    doi = {http://doi.org/10.1038/nmeth.4347}
}

@article{Baldwin2020,
    author = {Baldwin, Philip R. and Lyumkis, Dmitry},
    title = {Non-uniformity of projection distributions attenuates resolution in cryo-{EM}},
    journal = {Progress in Biophysics and Molecular Biology},
    volume = {150},
    pages = {160--183},
    year = {2020},
    doi = {http://doi.org/10.1016/j.pbiomolbio.2019.09.002}
}

@article{Baldwin2021,
    author = {Baldwin, Philip R. and Lyumkis, Dmitry},
    title = {Tools for visualizing and analyzing {Fourier} space sampling in Cryo-{EM}},
    journal = {Progress in Biophysics and Molecular Biology},
    volume = {160},
    pages = {53--65},
    year = {2021},
    doi = {http://doi.org/10.1016/j.pbiomolbio.2020.06.003}
}

@article{Naydenova2017,
    author = {Naydenova, Katerina and Russo, Christopher J.},
    title = {Measuring the effects of particle orientation to improve the efficiency of electron cryomicroscopy},
    journal = {Nature Communications},
    volume = {8},
    pages = {629},
    year = {2017},
    doi = {http://doi.org/10.1038/s41467-017-00782-3}
}

@article{Cardone2013,
    author = {Cardone, Giovanni and Heymann, J. Bernard and Steven, Alasdair C.},
    title = {One number does not fit all: mapping local variations in resolution in cryo-{EM} reconstructions},
    journal = {Journal of Structural Biology},
    volume = {184},
    number = {2},
    pages = {226--236},
    year = {2013},
    doi = {http://doi.org/10.1016/j.jsb.2013.08.002}
}

@article{Brown2015,
    author = {Brown, Alan and Long, Fei and Nicholls, Robert A. and Toots, Jaan and Emsley, Paul and Murshudov, Garib},
    title = {Tools for macromolecular model building and refinement into electron cryo-microscopy reconstructions},
    journal = {Acta Crystallographica Section D},
    volume = {71},
    pages = {136--153},
    year = {2015},
    doi = {http://doi.org/10.1107/S1399004714021683}
}

@article{Harauz1986,
    author = {Harauz, George and van Heel, Marin},
    title = {Exact filters for general geometry three dimensional reconstruction},
    journal = {Optik},
    volume = {73},
    pages = {146--156},
    year = {1986}
}

@article{Peng1999,
    author = {Peng, Lian-Mao},
    title = {Electron atomic scattering factors and scattering potentials of crystals},
    journal = {Micron},
    volume = {30},
    number = {6},
    pages = {625--648},
    year = {1999},
    doi = {http://doi.org/10.1016/S0968-4328(99)00033-5}
}

@article{Scheres2012c,
    author = {Scheres, Sjors H. W.},
    title = {{RELION}: implementation of a {Bayesian} approach to cryo-{EM} structure determination},
    journal = {Journal of Structural Biology},
    volume = {180},
    number = {3},
    pages = {519--530},
    year = {2012},
    doi = {http://doi.org/10.1016/j.jsb.2012.09.006}
}
"""
