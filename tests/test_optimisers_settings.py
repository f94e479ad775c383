"""What the optimisers refuse: unknown names, settings out of range, divergence; and that settings stay."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.engines.optimisers import OPTIMISERS, make_optimiser
from cryosgd_plugin.tests.optimiser_problems import EVERY, Given


@pytest.mark.parametrize("name, settings, message", [
    ("adam", {}, "optimiser 'adam' is unknown; choose of sgd, sgd-momentum"),
    ("sgd", dict(momentum=0.5), "sgd knows no setting 'momentum'; it has step_size"),
    ("whole-step", dict(step_size=0.5), "whole-step knows no setting 'step_size'; it has none"),
    *[(name, dict(step_size=size), "step size") for name in OPTIMISERS if name != "whole-step" for size in (0, -1, 11)],
    ("sgd", dict(step_size=float("nan")), "step size nan"),
    ("sgd-momentum", dict(momentum=1.0), "momentum 1.0"), ("nesterov", dict(momentum=-0.1), "momentum -0.1"),
    ("tonga", dict(discount=0), "discount"), ("tonga", dict(discount=1.1), "discount"),
    ("tonga", dict(rank=0), "rank"), ("tonga", dict(refresh_every=0), "refresh"), ("tonga", dict(damping=0), "damping"),
    ("olbfgs", dict(memory=0), "memory"), ("olbfgs", dict(regularisation=-1), "regularisation"),
    ("hessian-free", dict(damping=0), "damping"), ("hessian-free", dict(damping_range=(1, 2)), "damping 0.1"),
    ("hessian-free", dict(cg_iterations=0), "CG iterations"), ("hessian-free", dict(cg_tolerance=1), "CG tolerance"),
    ("hessian-free", dict(warm_start=1), "warm start"), ("hessian-free", dict(value_rounding=-1), "rounding"),
    ("sagd", dict(epsilon=(0.1, 1.0)), "epsilon"), ("sagd", dict(epsilon=(1.0, 0.0)), "epsilon"),
    ("sagd", dict(halving_steps=0), "halving"), ("sagd", dict(lipschitz=0), "Lipschitz"),
    ("sagd", dict(bisections=-1), "bisections"), ("sagd", dict(search_every=0), "line search"),
    ("sagd", dict(value_rounding=1), "rounding"),
])
def test_bad_settings_are_refused(name, settings, message):
    with pytest.raises(InputError, match=message):
        make_optimiser(name, **settings)


@EVERY
def test_settings_are_frozen_and_plain(name):
    optimiser = make_optimiser(name)
    with pytest.raises(AttributeError):
        optimiser.settings.step_size = 1.0
    assert type(optimiser.settings).from_dict(optimiser.settings.to_dict()) == optimiser.settings


@EVERY
def test_divergence_and_bad_preconditioners_are_told(name):
    x = np.ones(3)
    methods = dict(value=lambda x: 0.0, curvature=lambda x, v: v)
    with pytest.raises(InputError, match=f"{name}: the gradient is not finite"):
        make_optimiser(name).step(x, Given(gradient=lambda x: x * np.nan, **methods))
    with pytest.raises(InputError, match=f"{name}: the preconditioner is not positive"):
        make_optimiser(name).step(x, Given(gradient=lambda x: x, precondition=lambda g: -g, **methods))
