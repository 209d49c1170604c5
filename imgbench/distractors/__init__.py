"""How measures fall as a corpus grows: in closed form below its size, extrapolated beyond."""

from imgbench.distractors.curve import Curve, curve_of, distractor_curve
from imgbench.distractors.effective import EffectiveSize, Reach, effective_size
from imgbench.distractors.extrapolation import Error

__all__ = ["Curve", "EffectiveSize", "Error", "Reach", "curve_of", "distractor_curve", "effective_size"]
