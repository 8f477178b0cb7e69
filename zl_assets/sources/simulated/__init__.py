"""A simulated market in the vendors' file layout: the truth is known, so a pipeline's findings can be judged.

In the martingale world E[close[t+h] / close[t] - 1 | past] is zero for every symbol, session and horizon, except from
a wrong-month session of ZL (thin volume, another contract), whose price offset reverts: such rows are no training rows.
In the planted world ZL's expected next-session return is -KAPPA * return_21d / MEMORY, from the closes before.
"""

from zl_assets.sources.simulated.files import MARKER, SimulatedMarket, simulate
from zl_assets.sources.simulated.market import zl_closes
from zl_assets.sources.simulated.parameters import KAPPA, MEMORY, World

__all__ = ["KAPPA", "MARKER", "MEMORY", "SimulatedMarket", "World", "simulate", "zl_closes"]
