"""Random sampler configs, and what diffusers makes of each: flow/src/test/resources/golden/sampler_sweep.safetensors.

    pip install torch diffusers scipy safetensors; python tools/golden_sampler_sweep.py [OUT_FILE [SEED]]

Every class that this library reads takes every option of its config, in one step to as many as the model has levels, from
noise or from the middle. A network in closed form draws eight numbers. A run is done twice by diffusers' own code: as it is,
in float32, and in float64 from the same float32 tables. Stored are the times, the states after the first and the last step of
the latter, and how far the former is from it, which is diffusers' own rounding. A config that diffusers refuses is stored with
its words, one whose states are not finite with the last state that was.
"""
import json
import math
import os
import random
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

warnings.simplefilter("ignore")
diffusers.logging.set_verbosity(100)
torch.set_num_threads(1)

OUT = Path(__file__).parent.parent / "flow/src/test/resources/golden/sampler_sweep.safetensors"
COUNTS = {"DDIMScheduler": 260, "DDPMScheduler": 180, "PNDMScheduler": 150, "DPMSolverMultistepScheduler": 480,
          "DPMSolverSinglestepScheduler": 300, "DEISMultistepScheduler": 260, "UniPCMultistepScheduler": 420,
          "EulerDiscreteScheduler": 320, "EulerAncestralDiscreteScheduler": 110, "HeunDiscreteScheduler": 180,
          "LCMScheduler": 150, "TCDScheduler": 120, "FlowMatchEulerDiscreteScheduler": 170}
FLAG = [True, False]
RARELY = [None] * 19 + [True]  # options that few configs have
SPREADS = ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"]

SPACING = {"timestep_spacing": ["linspace", "leading", "trailing"], "steps_offset": [None, None, 0, 1, 3]}
CLIP = {"clip_sample": FLAG, "clip_sample_range": [None, None, 0.5, 2.0]}
THRESHOLD = {"thresholding": RARELY, "dynamic_thresholding_ratio": [None, 0.5, 0.9], "sample_max_value": [None, 1.5, 100.0]}
ZERO_SNR = {"rescale_betas_zero_snr": [None, None, None, False, True]}
SOLVER = {"solver_order": [None, 1, 2, 3], "lower_order_final": [None, True, False], **THRESHOLD,
          "use_flow_sigmas": RARELY, "flow_shift": [None] * 5 + [3.0]}
ENDS = {"final_sigmas_type": [None, "zero", "sigma_min", "sigma_min"]}
LEVELS = {"sigma_min": [None] * 5 + [0.01, 0.1], "sigma_max": [None] * 5 + [8.0, 40.0]}
NAMES_OF_OTHERS = ["deis", "logrho", "bh1", "bh2"]

OPTIONS = {
    "DDIMScheduler": {**SPACING, **CLIP, **THRESHOLD, **ZERO_SNR, "set_alpha_to_one": [None, True, False],
                      "eta": [None, None, 0.0, 0.5, 1.0]},
    "DDPMScheduler": {**SPACING, **CLIP, **THRESHOLD, **ZERO_SNR, "variance_type": [
        None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large"]},
    "PNDMScheduler": {**SPACING, "skip_prk_steps": [None, True, True], "set_alpha_to_one": [None, True, False]},
    "DPMSolverMultistepScheduler": {
        **SPACING, **SOLVER, **ENDS, **ZERO_SNR, "use_lu_lambdas": [None] * 9 + [True],
        "algorithm_type": [None, "dpmsolver++", "dpmsolver++", "dpmsolver", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"],
        "solver_type": [None, "midpoint", "heun", "heun"], "euler_at_final": [None, True, False],
        "lambda_min_clipped": [None] * 6 + [-5.1, -2.0]},
    "DPMSolverSinglestepScheduler": {
        **SOLVER, **ENDS, "algorithm_type": [None, "dpmsolver++", "dpmsolver++", "dpmsolver", "dpmsolver", "sde-dpmsolver++"],
        "solver_type": [None, "midpoint", "heun", "heun"], "lambda_min_clipped": [None] * 6 + [-5.1, -2.0]},
    "DEISMultistepScheduler": {**SPACING, **SOLVER, "algorithm_type": [None, None, "deis", "dpmsolver", "dpmsolver++"],
                               "solver_type": [None, None, "logrho", "heun", "bh2"]},
    "UniPCMultistepScheduler": {
        **SPACING, **SOLVER, **ENDS, **ZERO_SNR, **LEVELS, "solver_order": [None, 1, 2, 3, 4], "predict_x0": [None, None, False],
        "solver_type": [None, "bh1", "bh2", "midpoint"], "disable_corrector": [None, None, [], [0], [0, 1, 2]]},
    "EulerDiscreteScheduler": {**SPACING, **ENDS, **ZERO_SNR, **LEVELS, "interpolation_type": [None, None, "linear", "log_linear"],
                               "timestep_type": [None] * 9 + ["discrete", "continuous"]},
    "EulerAncestralDiscreteScheduler": {**SPACING, **ZERO_SNR},
    "HeunDiscreteScheduler": {**SPACING, **CLIP},
    "LCMScheduler": {**CLIP, **THRESHOLD, **ZERO_SNR, "original_inference_steps": [None, None, 10, 40, 100, 999],
                     "timestep_scaling": [None, None, 1.0, 0.1], "set_alpha_to_one": [None, True, False]},
    "TCDScheduler": {**CLIP, **THRESHOLD, **ZERO_SNR, "original_inference_steps": [None, None, 10, 40, 100, 999],
                     "eta": [None, 0.0, 0.3, 0.77, 1.0], "set_alpha_to_one": [None, True, False]},
    "FlowMatchEulerDiscreteScheduler": {"shift": [None, 1.0, 3.0, 0.4, 12.0], "stochastic_sampling": [None, False, True],
                                        "shift_terminal": [None] * 19 + [0.1], "invert_sigmas": RARELY,
                                        "use_dynamic_shifting": RARELY},
}


def betas(rng):
    """A noise schedule: Stable Diffusion's, DDPM's, the cosine, or a short one written out."""
    size = rng.choice([None] * 6 + [1000] * 4 + [50, 100, 250, 777, 2000])
    kind = rng.choice([None, "linear", "scaled_linear", "scaled_linear", "squaredcos_cap_v2"])
    start, end = rng.choice([(None, None), (0.00085, 0.012), (0.00085, 0.012), (0.0001, 0.02), (0.001, 0.03)])
    config = {"num_train_timesteps": size, "beta_schedule": kind, "beta_start": start, "beta_end": end}
    if rng.random() < 0.04:
        config = {"num_train_timesteps": 24, "trained_betas": [round(0.003 + 0.0004 * i * i, 6) for i in range(24)]}
    return config


def number_of_steps(rng, size):
    steps = rng.choice([1, 1, 2, 2, 3, 4, rng.randint(5, 14), rng.randint(5, 14), rng.randint(15, 30), rng.randint(15, 60),
                        rng.randint(61, 150), size])
    if steps == size:
        steps = rng.choice([size, size - 1, size // 2, rng.randint(1, size), size + 1])
    return steps


def random_case(rng, cls):
    flow = cls.startswith("Flow")
    config = {"num_train_timesteps": rng.choice([None, None, 1000, 500])} if flow else betas(rng)
    if not flow:
        config["prediction_type"] = rng.choice([None, "epsilon", "epsilon", "v_prediction", "v_prediction", "sample"])
        if rng.random() < 0.01:
            config["prediction_type"] = "flow_prediction"
        if rng.random() < 0.02:
            config["beta_schedule"] = rng.choice(["sigmoid", "laplace", "exp"])
    for key, values in OPTIONS[cls].items():
        config[key] = rng.choice(values)
    if hasattr(getattr(diffusers, cls), "_convert_to_karras") and rng.random() < 0.5:
        config[rng.choice(SPREADS)] = True
        if rng.random() < 0.04:
            config[rng.choice(SPREADS)] = True
    if "solver_type" in config and rng.random() < 0.04:  # as from_config of another class's config
        config["algorithm_type" if rng.random() < 0.3 else "solver_type"] = rng.choice(NAMES_OF_OTHERS)
    if config.get("algorithm_type") in ("dpmsolver", "sde-dpmsolver") and "final_sigmas_type" in config and rng.random() < 0.8:
        config["final_sigmas_type"] = "sigma_min"
    if not config.get("thresholding"):
        config.pop("dynamic_thresholding_ratio", None)
        config.pop("sample_max_value", None)
    config = {key: value for key, value in config.items() if value is not None}
    steps = number_of_steps(rng, config.get("num_train_timesteps", 1000))
    if cls in ("LCMScheduler", "TCDScheduler") and rng.random() < 0.9:
        steps = min(steps, config.get("original_inference_steps", 50))
    first = rng.randint(1, steps - 1) if steps > 2 and rng.random() < 0.12 else 0
    return {"config": {"_class_name": cls, **config}, "steps": steps, "first": first}


class Double:
    """PyTorch for a scheduler's module: float32 is float64."""
    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)

    def ones(self, *shape, dtype=torch.float64, **kwargs):
        return torch.ones(*shape, dtype=dtype, **kwargs)


class Exact:
    """NumPy for a scheduler's module. arange(T, 0, -T/N) has N elements; NumPy's own has one more for some N, 61 of 1000, by
    rounding. Logarithms are rounded correctly, where NumPy's differ by processor."""

    def __getattr__(self, name):
        return getattr(np, name)

    def arange(self, *args, **kwargs):
        values = np.arange(*args, **kwargs)
        return values[values > 1e-6] if len(args) == 3 else values

    def log(self, x):
        single = isinstance(x, (np.ndarray, np.generic)) and x.dtype == np.float32
        return np.log(x.astype(np.float64)).astype(np.float32) if single else np.log(x)


def exact_sqrt(x):
    """PyTorch's is not rounded correctly on every processor, and the tables of noise levels are made of roots."""
    return SQRT(x.double()).to(x.dtype)


SQRT, POW = torch.sqrt, torch.Tensor.__pow__
torch.sqrt = torch.Tensor.sqrt = exact_sqrt
torch.Tensor.__pow__ = lambda x, power: exact_sqrt(x) if power == 0.5 else POW(x, power)


NETWORK = "0.6 z + 0.25 sin 3z + 0.05 cos(t/150)"
START = torch.tensor([1.1 * math.sin(1.3 * j + 0.7) for j in range(8)], dtype=torch.float64).reshape(2, 2, 2, 1)
DATA = torch.tensor([0.8 * math.cos(0.9 * j) for j in range(8)], dtype=torch.float64).reshape(2, 2, 2, 1)
UPCAST = ["sigmas", "alphas_cumprod", "final_alpha_cumprod", "one", "alpha_t", "sigma_t"]


def network(z, t):
    return 0.6 * z + 0.25 * torch.sin(3 * z) + 0.05 * math.cos(t / 150)


def draw(case, dtype):
    """The scheduler's timesteps, and the state before the first and after every step."""
    config, steps, first = dict(case["config"]), case["steps"], case["first"]
    cls = getattr(diffusers, config["_class_name"])
    module = sys.modules[cls.__module__]
    arguments = {"eta": config.pop("eta")} if "eta" in config else {}
    draws = 0

    def noise(shape, dtype=None, **_):
        nonlocal draws
        draws += 1
        values = [1.2 * math.sin(1.7 * (draws - 1) + 2.3 * j + 0.5) for j in range(8)]
        return torch.tensor(values, dtype=torch.float64).reshape(shape).to(dtype)

    module.np, module.torch = Exact(), torch
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = noise
    scheduler = cls.from_config(config)
    scheduler.set_timesteps(steps)
    if dtype == torch.float64:
        for name in UPCAST:
            if isinstance(getattr(scheduler, name, None), torch.Tensor):
                setattr(scheduler, name, getattr(scheduler, name).double())
        module.torch = Double()
    timesteps = scheduler.timesteps
    begin = first * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    start, data = START.to(dtype), DATA.to(dtype)
    if first == 0:
        z = start * float(getattr(scheduler, "init_noise_sigma", 1.0))
    elif hasattr(scheduler, "scale_noise"):
        z = scheduler.scale_noise(data, timesteps[begin:begin + 1], start)
    else:
        z = scheduler.add_noise(data, start, timesteps[begin:begin + 1])
    states = [z]
    for t in timesteps[begin:]:
        seen = scheduler.scale_model_input(z, t) if hasattr(scheduler, "scale_model_input") else z
        z = scheduler.step(network(seen, float(t)), t, z, **arguments, return_dict=False)[0]
        states.append(z)
    module.np, module.torch = np, torch
    return timesteps.double(), torch.stack(states).double().reshape(len(states), 8)


def always():
    """Cases that were wrong, or not explained, once."""
    latent = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    for cls in ["DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"]:
        for spread in SPREADS:
            end = {} if cls.startswith("DEIS") else {"final_sigmas_type": "sigma_min"}
            yield {"config": {"_class_name": cls, **latent, spread: True, **end}, "steps": 1, "first": 0}
    for steps in [50, 100, 500, 999]:
        yield {"config": {"_class_name": "DEISMultistepScheduler", **latent, "solver_order": 3}, "steps": steps, "first": 0}
    for steps in [48, 61, 96, 103]:  # halves, and one timestep too many, by rounding of the spacing
        for cls in ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]:
            config = {"_class_name": cls, **latent, "timestep_spacing": "trailing"}
            yield {"config": config, "steps": steps, "first": 0}


def reference(case):
    """States after the first and the last step, times, and diffusers' rounding; what became of it goes into the case."""
    try:
        timesteps, exact = draw(case, torch.float64)
        _, single = draw(case, torch.float32)
    except Exception as e:
        case["refused"] = f"{type(e).__name__}: {e}"[:80]
        return torch.zeros(2, 8, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 0.0
    finite = int(exact.isfinite().all(1).long().cumprod(0).sum())
    if finite < len(exact):
        case["finite"] = finite - 1  # steps after which the state still was
    case["evaluations"] = len(timesteps)
    weights = torch.arange(1, len(timesteps) + 1)
    times = torch.stack([timesteps[0], timesteps[-1], (timesteps * weights).sum() / weights.sum()])
    rounding = ((single[-1] - exact[-1]).abs().max() / exact[-1].abs().max()).item()
    return exact[[min(1, finite - 1), finite - 1]], times, rounding if math.isfinite(rounding) else 1e9


def main():
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 20)
    cases = [*always(), *(random_case(rng, cls) for cls, count in COUNTS.items() for _ in range(count))]
    states, times, rounding = zip(*map(reference, cases))
    for cls in COUNTS:
        mine = [(case, error) for case, error in zip(cases, rounding) if case["config"]["_class_name"] == cls]
        drawn = [error for case, error in mine if "refused" not in case and "finite" not in case]
        print(f"{cls}: {len(drawn)} drawn, {sum('refused' in case for case, _ in mine)} refused, "
              f"{sum('finite' in case for case, _ in mine)} not finite; float32 is off by {np.median(drawn):.1e} in the median, "
              f"by more than 1e-3 in {sum(error > 1e-3 for error in drawn)}")
    tensors = {"states": torch.stack(states).float(), "timesteps": torch.stack(times), "rounding": torch.tensor(rounding)}
    out = sys.argv[1] if len(sys.argv) > 1 else OUT
    save_file(tensors, out, metadata={
        "cases": json.dumps(cases, separators=(",", ":")), "network": NETWORK,
        "versions": f"diffusers {diffusers.__version__}, torch {torch.__version__}"})
    os.chmod(out, 0o644)


main()
