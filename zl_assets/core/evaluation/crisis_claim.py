"""Whether conviction rises and confidence falls in a crisis: tested on the history, not assumed.

Belongs here: the episodes, the comparison and the verdict. The scores come from `conviction`.

Sessions of one crisis are not independent, so the unit is the episode: each is compared with the calm sessions around
it, which takes out whatever drifts over the years, and the interval comes from the spread between the episodes.
"""

# SciPy carries no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.conviction import CRISIS_INTENSITY, CRISIS_SHARE
from zl_assets.core.models.base import Floats, floats, require_columns
from zl_assets.errors import InputError

ClaimVerdict = Literal["holds", "does not hold", "not testable"]

CALM_BETWEEN_SESSIONS = 21
"""Crisis sessions with so many sessions between them, or fewer, are one episode: the VIX flickers around its limit."""

LEAST_EPISODES = 5
"""Fewest episodes whose differences have a usable spread."""

LEVEL = 0.95

_COLUMNS = ("session_number", "crisis_intensity", "conviction", "confidence")


@dataclass(frozen=True)
class Episode:
    """One crisis.

    Attributes:
        first_session: its first session's number.
        last_session: its last one's.
        crisis_sessions: sessions in crisis from the first to the last.
        conviction_difference: mean in them, less that of the calm sessions nearer to it than to another episode.
        confidence_difference: the same of confidence.
        intensity_difference: the same of crisis intensity.
    """

    first_session: int
    last_session: int
    crisis_sessions: int
    conviction_difference: float
    confidence_difference: float
    intensity_difference: float


@dataclass(frozen=True)
class Contrast:
    """A score in crises and outside them, 0 to 100.

    Attributes:
        in_crisis: mean over all crisis sessions.
        otherwise: mean over all others.
        difference: mean over episodes of the episode's difference; a long episode counts as much as a short one.
        low: lower end of the interval of `difference` at LEVEL.
        high: upper end.
    """

    in_crisis: float
    otherwise: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class CrisisClaim:
    """What the history says about the claim.

    Attributes:
        verdict: 'holds' where both intervals lie on the claimed side of 0; 'does not hold' where the data do not show
            it, which is not to say that they show the opposite; 'not testable' with too few episodes.
        sessions: compared.
        episodes: of crisis, in order.
        conviction: claimed to rise; None where not testable.
        confidence: claimed to fall; None where not testable.
        rise_by_definition: part of `conviction.difference` that is there merely because crisis intensity is a part of
            conviction; only what is beyond it is news. None where not testable.
    """

    verdict: ClaimVerdict
    sessions: int
    episodes: tuple[Episode, ...]
    conviction: Contrast | None
    confidence: Contrast | None
    rise_by_definition: float | None

    @property
    def sentence(self) -> str:
        """One line with the figures."""
        lengths = ", ".join(str(e.crisis_sessions) for e in self.episodes)
        crises = f"{len(self.episodes)} episodes of {lengths or 'no'} crisis sessions among {self.sessions}"
        if self.conviction is None or self.confidence is None or self.rise_by_definition is None:
            return f"not testable: {crises}, at least {LEAST_EPISODES} episodes are needed"
        up, down = (f"{c.difference:+.1f} [{c.low:+.1f}, {c.high:+.1f}]" for c in (self.conviction, self.confidence))
        by_definition = f"({self.rise_by_definition:+.1f} by definition)"
        return f"{self.verdict}: in a crisis conviction {up} {by_definition}, confidence {down}; {crises}"


def crisis_claim(history: pl.DataFrame) -> CrisisClaim:
    """Test the claim 'in a crisis conviction rises and confidence falls' on the scores of past forecasts.

    The interval is Student's over the episodes' differences. On the crises of 2016 to 2025 and series with a memory of
    20 to 120 sessions it holds the truth about 95 times in 100, where an interval by blocks of sessions does 80 to 90
    times: few blocks hold a crisis at all.

    Args:
        history: rows of `conviction.TRUST_SCHEMA` in order; those without a score or crisis intensity are left out.

    Raises:
        InputError: a column is missing, or sessions are not in order.
    """
    require_columns(history, _COLUMNS, "history of scores")
    rows = history.select(_COLUMNS).drop_nulls().filter(pl.all_horizontal(pl.selectors.float().is_not_nan()))
    sessions = rows["session_number"].cast(pl.Int64).to_numpy()
    if not (np.diff(sessions) > 0).all():
        raise InputError(
            "session numbers are not strictly ascending", where="history of scores", action="sort it, one row a session"
        )
    scores = {name: floats(rows, name) for name in _COLUMNS[1:]}
    crisis = scores["crisis_intensity"] > CRISIS_INTENSITY
    episodes = _episodes(sessions, crisis, scores) if crisis.any() else ()
    if len(episodes) < LEAST_EPISODES:
        return CrisisClaim("not testable", rows.height, episodes, None, None, None)
    by_definition = CRISIS_SHARE * float(np.mean([e.intensity_difference for e in episodes]))
    up = _contrast(scores["conviction"], crisis, [e.conviction_difference for e in episodes])
    down = _contrast(scores["confidence"], crisis, [e.confidence_difference for e in episodes])
    verdict = "holds" if up.low > 0 and down.high < 0 else "does not hold"
    return CrisisClaim(verdict, rows.height, episodes, up, down, by_definition)


def _episodes(sessions: NDArray[np.int64], crisis: NDArray[np.bool_], scores: dict[str, Floats]) -> tuple[Episode, ...]:
    """Crises with calm sessions around them to compare with; each session belongs to the nearest one."""
    days = np.flatnonzero(crisis)
    runs = np.split(days, np.flatnonzero(np.diff(sessions[days]) > CALM_BETWEEN_SESSIONS) + 1)
    middles = [(sessions[a[-1]] + sessions[b[0]]) / 2 for a, b in pairwise(runs)]
    nearest = np.searchsorted(middles, sessions)
    found: list[Episode] = []
    for number, run in enumerate(runs):
        around = (nearest == number) & ~crisis
        if not around.any():
            continue
        apart = {name: float(score[run].mean() - score[around].mean()) for name, score in scores.items()}
        found.append(
            Episode(
                first_session=int(sessions[run[0]]),
                last_session=int(sessions[run[-1]]),
                crisis_sessions=run.size,
                conviction_difference=apart["conviction"],
                confidence_difference=apart["confidence"],
                intensity_difference=apart["crisis_intensity"],
            )
        )
    return tuple(found)


def _contrast(score: Floats, crisis: NDArray[np.bool_], differences: list[float]) -> Contrast:
    from scipy import stats

    values = np.array(differences)
    error = float(values.std(ddof=1) / np.sqrt(values.size))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, values.size - 1)) * error
    mean = float(values.mean())
    return Contrast(float(score[crisis].mean()), float(score[~crisis].mean()), mean, mean - reach, mean + reach)
