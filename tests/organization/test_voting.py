"""Votes against what fractions say, and examples as files hold them; no Keras here."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organization.examples import Examples, fitting, load_examples
from organization.voting import MajorityVote, SoftVote, softmax, tally
from protocol.errors import ArithmeticRefused, InvalidInput

EIGHTHS = st.lists(st.integers(0, 8), min_size=3, max_size=3)  # exact in every float
MEMBERS = st.lists(st.tuples(st.lists(EIGHTHS, min_size=4, max_size=4), st.integers(1, 1000)), min_size=1, max_size=6)


def added(votes, members):
    for rows, weight in members:
        votes.add(np.array(rows, np.float32) / 8, weight)
    return votes


# --- refusals ---


@pytest.mark.parametrize("ballot", ["soft", "majority"])
def test_nobody_elects_nothing(ballot):
    votes = tally(ballot)
    for ask in (votes.shares, votes.winners):
        with pytest.raises(InvalidInput, match="Nobody voted"):
            ask()


def test_weights_that_a_count_could_not_hold_are_refused():
    votes, sure = MajorityVote(), np.array([[0.0, 1.0]], np.float32)
    votes.add(sure, (1 << 63) - 2)
    with pytest.raises(ArithmeticRefused):
        votes.add(sure, 2)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"y": np.zeros(3, int)}, "no array 'x'"),
        ({"x": np.zeros((0, 2))}, "shape"),
        ({"x": np.float32(1)}, "shape"),
        ({"x": np.array([[1.0, np.nan]])}, "NaN"),
        ({"x": np.array([["a"]])}, "dtype"),
        ({"x": np.array([[{}]], dtype=object)}, "cannot be read"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, "shape"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3)}, "dtype"),
    ],
)
def test_files_that_hold_no_examples_are_refused(tmp_path, arrays, why):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(InvalidInput, match=why):
        load_examples(tmp_path / "data.npz", "--data")


def test_what_is_no_file_is_named(tmp_path):
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("no")
    for name in ("absent.npz", "single.npy", "text.npz"):
        with pytest.raises(InvalidInput, match=name.split(".", maxsplit=1)[0]):
            load_examples(tmp_path / name, "--data")


@pytest.mark.parametrize("shape", [(3,), (2, 1), (None, None)])
def test_examples_of_another_shape_do_not_fit(shape):
    with pytest.raises(InvalidInput, match="the model takes"):
        fitting(Examples(np.zeros((5, 2), np.float32)), shape, integer_input=False)


def test_floats_are_no_tokens():
    with pytest.raises(InvalidInput, match="integers"):
        fitting(Examples(np.zeros((5, 2), np.float32)), (2,), integer_input=True)


# --- what is elected ---


def test_files_are_read_as_clients_read_theirs(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.ones((2, 3), np.float64), y=np.array([[1], [0]], np.uint8))
    found = load_examples(tmp_path / "data.npz", "--data")
    assert found.x.dtype == np.float32 and found.y.dtype == np.int64 and found.y.tolist() == [1, 0]
    np.savez(tmp_path / "bare.npz", x=np.ones((2, 3), np.int16))
    bare = load_examples(tmp_path / "bare.npz", "--data")
    assert bare.y is None and len(bare) == 2
    assert fitting(bare, (3,), integer_input=True).dtype == np.int32
    assert fitting(bare, (None,), integer_input=False).dtype == np.float32


@given(MEMBERS)
def test_a_soft_vote_is_the_weighted_mean(members):
    votes = added(SoftVote(), members)
    total = sum(weight for _, weight in members)
    for example in range(4):
        exact = [sum(Fraction(rows[example][c], 8) * weight for rows, weight in members) / total for c in range(3)]
        assert np.allclose(votes.shares()[example], [float(share) for share in exact], rtol=1e-12, atol=0)
        if sorted(exact)[-1] - sorted(exact)[-2] > Fraction(1, 10**9):
            assert votes.winners()[example] == exact.index(max(exact))


@given(MEMBERS)
def test_a_majority_is_a_weighted_count_and_ties_go_to_the_smallest_class(members):
    votes = added(MajorityVote(), members)
    total = sum(weight for _, weight in members)
    for example in range(4):
        counts = [0, 0, 0]
        for rows, weight in members:
            counts[rows[example].index(max(rows[example]))] += weight
        assert votes.winners()[example] == counts.index(max(counts))
        assert np.allclose(votes.shares()[example], [count / total for count in counts])


def test_counts_that_floats_cannot_tell_apart_are_told_apart():
    votes = MajorityVote()
    votes.add(np.array([[1.0, 0.0]], np.float32), 1 << 60)
    votes.add(np.array([[0.0, 1.0]], np.float32), (1 << 60) + 1)
    assert votes.shares()[0][0] == votes.shares()[0][1] and votes.winners().tolist() == [1]


def test_votes_on_places_of_an_example_are_counted_apart():
    votes = MajorityVote()
    votes.add(np.array([[[0.1, 0.9], [0.9, 0.1]]], np.float32), 2)
    votes.add(np.array([[[0.9, 0.1], [0.9, 0.1]]], np.float32), 1)
    assert votes.winners().tolist() == [[1, 0]] and votes.shares().shape == (1, 2, 2)


def test_softmax_does_not_overflow():
    found = softmax(np.array([[1e30, 0.0], [-1e30, -1e30], [0.0, np.log(3)]], np.float32))
    assert np.allclose(found, [[1, 0], [0.5, 0.5], [0.25, 0.75]])
