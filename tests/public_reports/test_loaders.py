"""The loader as people use it: faults that users of other libraries reported in public.

A test is named by what the user saw. Its first line says where that was reported, and what was
seen there; the rest is the same situation here.
"""

import copy
import json
import operator
import pickle

import numpy as np
import pytest

import fastoptim as fo

from support import child
from support.orders import order_list as order
from support.orders import row_list as rows


def test_a_look_at_the_first_batch_loses_nothing():
    # https://github.com/awslabs/gluonts/issues/281: next(iter(...)) to have a look at the data.
    batches = fo.MiniBatches(np.arange(10), batch_size=3)
    assert batches.peek().tolist() == batches.peek().tolist() == order(10)[:3]
    assert rows(batches) == order(10)
    look = next(iter(batches)).tolist()
    following = rows(batches)
    assert sorted(following) == list(range(10)) and look in (order(10, epoch=1)[:3], following[:3])


def test_a_loop_after_a_break_begins_a_pass_of_its_own():
    # https://github.com/facebookarchive/torchnet/issues/57: samples of the loop that was left.
    batches = fo.MiniBatches(np.arange(10), batch_size=3)
    for _ in batches:
        break
    for _ in range(3):
        assert sorted(rows(batches)) == list(range(10))


def test_a_loop_in_a_loop_over_the_same_data_ends():
    # https://github.com/pytorch/text/issues/1282: from the second round on, the loop was empty.
    batches = fo.MiniBatches(np.arange(6), batch_size=2)
    pairs = [(x.tolist(), rows(batches)) for x in batches]
    assert sorted(row for x, _ in pairs for row in x) == list(range(6))
    assert [sorted(inner) for _, inner in pairs] == [list(range(6))] * 3


def test_two_loaders_side_by_side_lose_nothing():
    # https://github.com/facebookresearch/fairseq/issues/1746: two loaders, zipped.
    long = fo.MiniBatches(np.arange(10), batch_size=2)
    short = fo.MiniBatches(np.arange(4), batch_size=2)
    starts = [order(10, epoch=k)[:4] for k in range(4)]  # of passes
    for _ in range(2):
        for pairs in (list(zip(long, short)), [pair[::-1] for pair in zip(short, long)]):
            assert rows(x for x, _ in pairs) in starts
            assert sorted(rows(y for _, y in pairs)) == list(range(4))


def test_a_second_resume_within_an_epoch_is_where_it_was_left():
    # https://github.com/KempnerInstitute/KempnerForge/issues/57: the second resume went back.
    state, taken = None, []
    for _ in range(3):
        batches = fo.MiniBatches(np.arange(100), batch_size=7)
        if state is not None:
            batches.load_state_dict(json.loads(json.dumps(state)))
        iterator = iter(batches)
        taken += [row for _ in range(3) for row in next(iterator).tolist()]
        state = batches.state_dict()
    assert taken == order(100)[:63]


def test_asking_for_the_state_does_not_spoil_a_loaded_one():
    # https://github.com/meta-pytorch/data/pull/1548: state_dict() before made the load forgotten.
    first, second = (fo.MiniBatches(np.arange(10), batch_size=5) for _ in range(2))
    next(iter(first))
    second.state_dict()
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    assert rows(second) == order(10)[5:]
    assert rows(second) == order(10, epoch=1)


def test_a_state_saved_at_the_end_of_an_epoch_drops_no_epoch():
    # https://github.com/meta-pytorch/data/issues/1437: loaded at its end, an epoch was skipped.
    first, second = (fo.MiniBatches(np.arange(10), batch_size=5) for _ in range(2))
    assert rows(first) == order(10)
    second.load_state_dict(first.state_dict())
    assert rows(second) == rows(first) == order(10, epoch=1)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_augmentation_in_place_does_not_eat_the_data_set(prefetch):
    # https://github.com/facebookresearch/pycls/pull/21: augmented in place, the data changed.
    X = np.arange(12.0).reshape(6, 2)
    before = X.copy()
    for shuffle in (True, False):
        batches = fo.MiniBatches(X, batch_size=2, shuffle=shuffle, prefetch=prefetch)
        for x in (*batches, batches.peek()):
            if shuffle:
                x -= x.mean()
            else:
                with pytest.raises(ValueError, match="read-only"):
                    x -= x.mean()
    assert np.array_equal(X, before) and X.flags.writeable


def test_dropping_the_only_batch_is_an_error():
    # https://github.com/huggingface/datasets/issues/7113: 100 rows, batches of 101: not one came.
    with pytest.raises(ValueError, match="drop_last"):
        fo.MiniBatches(np.arange(100), batch_size=101, drop_last=True)
    assert len(rows(fo.MiniBatches(np.arange(100), batch_size=100, drop_last=True))) == 100


def test_a_last_batch_of_one_row_can_be_left_out():
    # https://github.com/pytorch/pytorch/issues/7716: batch normalisation failed on a batch of one.
    def sizes(n, **options):
        batches = fo.MiniBatches(np.arange(n), batch_size=4, min_batch=2, **options)
        taken = [len(x) for x in batches]
        assert len(taken) == len(batches)
        return taken

    assert [sizes(n) for n in (8, 9, 10)] == [[4, 4], [4, 4], [4, 4, 2]]
    assert sizes(9, shuffle=False, prefetch=1) == [4, 4]


def test_a_resumed_pass_says_how_many_batches_will_come():
    # https://github.com/NVIDIA-NeMo/Speech/issues/10007: a progress bar of the wrong length.
    batches = fo.MiniBatches(np.arange(95), batch_size=10, start=(2, 40))
    assert len(batches) == 10 and batches.remaining == 6
    iterator = iter(batches)
    for left in (6, 5, 4):
        assert operator.length_hint(iterator) == batches.remaining == left
        next(iterator)
    assert len(list(iterator)) == 3


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy,
                                       lambda x: pickle.loads(pickle.dumps(x))],
                         ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_a_loader_has_a_place_of_its_own(duplicate):
    # https://github.com/pescadores/pescador/issues/112: each use moved the one stream they shared.
    first = fo.MiniBatches(np.arange(10), batch_size=2, seed=3, start=(1, 4), prefetch=1)
    second = duplicate(first)
    third = duplicate(second)
    assert rows(second) == rows(first) == rows(third) == order(10, 3, 1)[4:]


def test_a_loader_can_be_sent_to_another_process():
    # https://github.com/meta-pytorch/data/issues/1404: cannot pickle 'torch._C.Generator' object.
    batches = fo.MiniBatches(np.arange(10), batch_size=4, seed=5)
    text = pickle.dumps(batches)
    assert eval(child.run(f"""
import pickle, sys
print([x.tolist() for x in pickle.loads({text!r})])
""")) == [x.tolist() for x in batches]


def test_a_negative_axis_counts_from_the_end_of_each_array():
    # https://github.com/flatironinstitute/nemos/pull/301: a split along a negative axis was wrong.
    X, y = np.arange(20).reshape(2, 10), np.arange(10)
    for axis in (-1, (1, 0), (-1, 0), (1, -1)):
        for x, taken in fo.MiniBatches(X, y, batch_size=3, axis=axis):
            assert np.array_equal(x, X[:, taken])
    first, second = X.copy(), y.copy()
    fo.shuffle_(first, second, axis=-1)
    assert np.array_equal(first, X[:, second]) and second.tolist() == order(10)


def test_a_dict_of_arrays_gives_dicts_of_batches():
    # https://github.com/tensorflow/tensorflow/issues/10151: tuples of tensors, but no dicts.
    data = {"x": np.arange(20).reshape(10, 2), "y": np.arange(10)}
    taken = []
    for batch in fo.MiniBatches(data, batch_size=4):
        assert list(batch) == ["x", "y"] and np.array_equal(batch["x"], data["x"][batch["y"]])
        taken += batch["y"].tolist()
    assert taken == order(10)


def test_a_data_frame_gives_its_rows_or_says_what_to_call():
    # https://github.com/milesial/Pytorch-UNet/issues/250: KeyError, from an index of pandas.
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(6.0), "b": np.arange(6.0) + 10}, index=list("uvwxyz"))
    for table in (frame, frame["a"], frame.iloc[::-1]):
        try:
            batches = fo.MiniBatches(table, batch_size=4)
        except TypeError as error:
            assert type(table).__name__ in str(error) and "to_numpy" in str(error)
        else:
            expected = table.to_numpy()[order(6)]
            assert np.array_equal(np.concatenate(list(batches)), expected)
    with pytest.raises(TypeError, match="DataFrame"):  # columns of two kinds are no one array
        fo.MiniBatches(frame.assign(c=list("abcdef")), batch_size=4)


def test_a_sparse_matrix_is_refused_by_name():
    # https://github.com/mexchy1000/CellDART/issues/9: sparse matrix length is ambiguous.
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_matrix(np.eye(4)), sparse.csc_array(np.eye(4))):
        with pytest.raises(TypeError, match=type(matrix).__name__):
            fo.MiniBatches(matrix, batch_size=2)


def test_a_sparse_gradient_is_refused_by_name():
    # https://github.com/pytorch/pytorch/issues/29814: SGD failed deep inside, on set_indices.
    sparse = pytest.importorskip("scipy.sparse")
    params = {"W": np.eye(4)}
    one, named = fo.SGD(params["W"]), fo.SGD(params)
    gradient = sparse.csr_matrix(np.eye(4))
    for opt, grads in ((one, gradient), (one, [gradient]), (named, {"W": gradient})):
        with pytest.raises(TypeError, match="csr_matrix"):
            opt.step(grads)
    assert np.array_equal(params["W"], np.eye(4))


def test_a_data_set_in_a_file_gives_its_rows_or_says_what_to_call(tmp_path):
    # https://github.com/keras-team/keras/issues/887: TypeError while preparing batch, from h5py.
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        rows_ = file.create_dataset("rows", data=np.arange(40).reshape(20, 2))
        try:
            batches = fo.MiniBatches(rows_, batch_size=6)
        except TypeError as error:
            assert "Dataset" in str(error) and "[:]" in str(error)
        else:
            expected = np.arange(40).reshape(20, 2)[order(20)]
            assert np.array_equal(np.concatenate(list(batches)), expected)
