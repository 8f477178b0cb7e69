import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.models.neural.scaling import FURTHEST, Scaling
from zl_assets.core.models.neural.windows import LEAST_WINDOWS, purged_tail, windows
from zl_assets.errors import InputError, NotEnoughHistory


class TestWindows:
    @given(rows=st.integers(0, 30), channels=st.integers(1, 4), length=st.integers(1, 12))
    def test_each_window_is_the_rows_up_to_its_last(self, rows: int, channels: int, length: int) -> None:
        panel = np.arange(rows * channels, dtype=np.float32).reshape(rows, channels)
        cut = [panel[end - length : end] for end in range(length, rows + 1)]
        made = windows(panel, length)
        assert made.shape == (max(rows - length + 1, 0), length, channels)
        assert all(np.array_equal(a, b) for a, b in zip(made, cut, strict=True))

    def test_nothing_is_copied(self) -> None:
        panel = np.zeros((3500, 14), dtype=np.float32)
        made = windows(panel, 42)
        assert np.shares_memory(made, panel)
        assert np.shares_memory(made[100:2000], panel)
        panel[50, 3] = 7
        assert made[50, 0, 3] == made[9, 41, 3] == 7
        assert not made.flags.writeable


class TestPurgedTail:
    @given(
        gaps=st.lists(st.integers(1, 4), min_size=120, max_size=400),
        horizon=st.integers(1, 30),
        length=st.integers(1, 20),
    )
    def test_no_outcome_learnt_from_lies_in_the_tail_and_no_row_is_wasted(
        self, gaps: list[int], horizon: int, length: int
    ) -> None:
        sessions = np.cumsum(gaps)
        n_learn, first = purged_tail(sessions, horizon, length)
        assert first == len(gaps) - int(np.ceil(0.15 * len(gaps)))
        assert n_learn <= first
        assert sessions[n_learn - 1] + horizon <= sessions[first]
        assert n_learn == first or sessions[n_learn] + horizon > sessions[first]

    def test_too_short_a_history_is_refused_with_its_numbers(self) -> None:
        sessions = np.arange(200)
        with pytest.raises(NotEnoughHistory, match=r"200 labelled sessions leave 3 windows.*126 before them"):
            purged_tail(sessions, 126, 43)
        longest = 200 - 30 - 20 - 1 - LEAST_WINDOWS + 2
        assert purged_tail(sessions, 21, longest)[0] - longest + 1 == LEAST_WINDOWS

    def test_sessions_out_of_order_are_refused(self) -> None:
        with pytest.raises(InputError, match="out of order"):
            purged_tail(np.r_[np.arange(300), 299], 5, 10)


class TestScaling:
    def frame(self) -> pl.DataFrame:
        values = np.random.default_rng(3).normal([5, 0.01, 1], [2, 0.003, 1], (200, 3))
        frame = pl.DataFrame(values, schema=["a", "b", "c"])
        gap = pl.int_range(pl.len()) % 10 == 4
        return frame.with_columns(c=pl.when(gap).then(None).otherwise("c"), same=pl.lit(1.5), none=pl.lit(None))

    def test_known_values_are_standardised_and_gaps_are_0_with_a_mark(self) -> None:
        frame = self.frame()
        scaling = Scaling.fit(frame, frame.columns)
        assert scaling.features == ("a", "b", "c")
        assert scaling.gappy == ("c",)
        assert (scaling.channels("a"), scaling.channels("c"), scaling.n_channels) == ([0], [2, 3], 4)
        panel = scaling.panel(frame)
        a = frame["a"].to_numpy()
        assert np.allclose(panel[:, 0], (a - a.mean()) / a.std(), atol=1e-6)
        gap = frame["c"].is_null().to_numpy()
        known = frame["c"].drop_nulls().to_numpy()
        assert np.allclose(panel[~gap, 2], (known - known.mean()) / known.std(), atol=1e-6)
        assert not panel[gap, 2].any()
        assert np.array_equal(panel[:, 3], gap.astype(float))

    def test_a_gap_that_was_never_learnt_from_counts_as_the_mean(self) -> None:
        frame = self.frame()
        panel = Scaling.fit(frame, ["a", "b"]).panel(frame.with_columns(a=pl.lit(None, dtype=pl.Float64)))
        assert panel.shape == (200, 2)
        assert not panel[:, 0].any()
        assert panel[:, 1].any()

    def test_values_far_out_are_held(self) -> None:
        frame = self.frame()
        panel = Scaling.fit(frame, ["a"]).panel(pl.DataFrame({"a": [1e9, -1e9, float("inf")]}))
        assert panel[:, 0].tolist() == [FURTHEST, -FURTHEST, FURTHEST]

    def test_features_that_tell_nothing_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"every feature is constant.*same, none"):
            Scaling.fit(self.frame(), ["same", "none"])
