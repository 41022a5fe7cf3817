"""A training in parts: its steps follow each other, and no sample is used twice."""

from hypothesis import given
from hypothesis import strategies as st

from shallow2deep.settings import Change, TrainingSettings
from shallow2deep.training.segments import samples_used, segment_at, segments


@given(
    st.lists(
        st.builds(
            Change,
            stage=st.just("enhancer"),
            step=st.integers(0, 30),
            steps=st.none() | st.integers(31, 60),
            batch=st.integers(1, 5),
        ),
        max_size=4,
    )
)
def test_steps_follow_each_other_and_no_sample_is_used_twice(changes: list[Change]) -> None:
    parts = segments(TrainingSettings(steps=20, batch=2), changes)
    used = [n for step in range(parts[-1].end) for n in segment_at(parts, step).samples(step)]
    assert used == list(range(samples_used(TrainingSettings(steps=20, batch=2), changes)))
    for change in changes[-1:]:  # of several at one step, the last one counts
        if change.step < parts[-1].end:
            assert segment_at(parts, change.step).settings.batch == change.batch
