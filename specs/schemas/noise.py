"""Limits of the diffusion process: steps that a noise schedule needs, and shifts that leave a signal."""

from __future__ import annotations

__all__ = ["MAX_SHIFT", "process_problem"]

#: Fewest steps of schedules. The betas of "linear" end at 0.02 times 1000 / steps, which is at most 1.
FEWEST_STEPS = {"linear": 20}
#: Largest factor by which a shift divides the signal-to-noise ratio. Beyond it, every step is noise.
MAX_SHIFT = 1e12


def process_problem(schedule: str, steps: int, ratio: float = 1, power: float = 0) -> tuple[str, str] | None:
    """Describe why a diffusion process cannot be used; return None if it can.

    Args:
        schedule: Name of the base schedule.
        steps: Number of steps.
        ratio: Resolution of the outermost level divided by that of the innermost level.
        power: Power of the shift.

    Returns:
        The field that is wrong, "steps" or "shift", and a message.
    """
    fewest = FEWEST_STEPS.get(schedule, 1)
    if steps < fewest:
        message = f"schedule '{schedule}' needs at least {fewest} steps, not {steps}: its betas are scaled by 1000 / "
        return "steps", message + "steps and would exceed 1; use 'cosine' for few steps"
    try:
        factor = float(ratio) ** float(power)
    except OverflowError:
        factor = float("inf")
    if not factor <= MAX_SHIFT:
        message = (
            f"a shift of {power:g} divides the signal-to-noise ratio of the outermost level by {ratio:g}^{power:g}"
        )
        return "shift", f"{message}, more than {MAX_SHIFT:g}: every step would be noise"
    return None
