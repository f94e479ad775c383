"""`cryosgd sparse-tv`: a sparse and smooth map from two half-maps."""
from __future__ import annotations

import os

from ..core.errors import InputError
from ..engines.sparse_tv.config import METHODS, SparseTVConfig
from ..job.sparse_tv import DIAMETER_SHARE, run_sparse_tv
from .run_options import auto_or_number


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "sparse-tv", help="a sparse and smooth map from two half-maps",
        description="Regularises the two unregularised half-maps of a refinement, and their mean, by log-norm sparsity "
                    "and log total variation (paper 3), each half by itself with penalties that it chooses by data "
                    "that it holds back. The resolution stays that of the half-maps as they were given: "
                    "regularised halves also agree on noise.")
    parser.set_defaults(run=run)
    default = SparseTVConfig()
    add = parser.add_argument
    add("maps", nargs=2, metavar="MRC", help="the two half-maps, unregularised, unmasked: cubes of one box")
    add("-o", "--output", required=True, metavar="DIR", help="new folder for the results")
    add("--pixel-size", type=float, metavar="A", help="Å/px of both maps (default: as their headers say)")
    # argparse formats help by %: a percent sign is two
    add("--diameter", type=float, metavar="A",
        help=f"particle diameter, Å (default: {DIAMETER_SHARE:.0%}% of the box)")
    add("--symmetry", default="C1", metavar="GROUP",
        help="point group that was imposed on the maps, whose mates hold the same noise (default %(default)s)")
    add("--alpha", type=auto_or_number, default=None, metavar="F",
        help="sparsity, in rms(AᴴDy) · ε; auto chooses (default)")
    add("--beta", type=auto_or_number, default=None, metavar="F",
        help="total variation, in rms(AᴴDy) · ε'; auto chooses (default)")
    add("--gamma", type=float, default=0.0, metavar="F",
        help="how much the maps are held to Wiener's, in the mean weight, as in a refinement's iteration after one of "
             "the traditional method (default %(default)g: not at all)")
    add("--scan", action="store_true",
        help="choose from paper 3's whole grid, α 0.4 and 0.5, β 1 to 2.6, γ 0.05 to 0.2; scan.png shows over it what "
             "its Fig. 1-3 do, and what each half foretells (324 maps: minutes for halves of 64 px, hours for those of "
             "256 px)")
    add("--epsilon", type=float, metavar="F",
        help="density at which the molecule begins, in the maps' units (default: proposed from a mask of the map)")
    add("--epsilon-ratio", type=float, default=default.epsilon_ratio, metavar="F",
        help="ε' / ε, 1/3 to 1 (default %(default).2g)")
    add("--reweightings", type=int, default=default.reweightings, metavar="N", help="(default %(default)s)")
    add("--convex", action="store_true", help="plain ℓ1 and total variation, not their logarithms")
    add("--method", choices=METHODS, default=default.method, help="(default %(default)s)")
    add("--iterations", type=int, default=default.iterations, metavar="N",
        help="of each reweighting, at most (default %(default)s)")
    add("--tolerance", type=float, default=default.tolerance, metavar="F",
        help="relative fixed-point gap at which it ends (default %(default)g)")
    add("--seed", type=int, default=0, metavar="N", help="of the noise that parts the data (default %(default)s)")
    add("--device", default="cpu", help="cpu, or cuda (cuda:1 …) to solve for the final maps on a GPU; penalties are "
                                        "chosen on the CPU (default %(default)s)")
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help="CPU threads (default: all, %(default)s)")


def run(arguments) -> int:
    """Read, regularise, write; raises InputError before there is a folder."""
    if arguments.threads < 1:
        raise InputError(f"{arguments.threads} threads were asked for; give 1 or more")
    if arguments.seed < 0:
        raise InputError(f"seed {arguments.seed} is negative; give 0 or more")
    if (arguments.alpha is None) != (arguments.beta is None):
        raise InputError("--alpha and --beta are chosen together; give both or neither")
    if arguments.scan and (arguments.alpha is not None or arguments.gamma):
        raise InputError("--scan tries α, β and γ; leave out --alpha, --beta and --gamma")
    default = SparseTVConfig()
    chosen = arguments.alpha is None
    config = SparseTVConfig(
        alpha=default.alpha if chosen else arguments.alpha, beta=default.beta if chosen else arguments.beta,
        gamma=arguments.gamma, epsilon=arguments.epsilon, epsilon_ratio=arguments.epsilon_ratio,
        reweightings=arguments.reweightings, convex=arguments.convex, method=arguments.method,
        iterations=arguments.iterations, tolerance=arguments.tolerance)
    summary = run_sparse_tv(arguments.maps, arguments.output, config, chosen=chosen, scan=arguments.scan,
                            pixel_size=arguments.pixel_size, diameter_a=arguments.diameter,
                            symmetry=arguments.symmetry, seed=arguments.seed, device=arguments.device,
                            threads=arguments.threads)
    for sentence in summary["warnings"]:
        print(f"Warning: {sentence}", flush=True)
    print(summary["outcome"], flush=True)
    return 0
