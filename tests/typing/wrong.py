"""Every line that ends in `# wrong` has a mistake that a type checker must find."""

import numpy as np

import fastoptim as fo

X, Y = np.zeros((10, 4)), np.zeros(10)

# The optimizers.
opt = fo.Adam(X, lr=0.1)
fo.Adam(X, learning_rate=0.1)  # wrong
fo.Adam(X, eps="1e-8")  # wrong
fo.Adam(X, betas=0.9)  # wrong
fo.AdamW(X, state_dtype="q9")  # wrong
fo.SGD(X, lr="0.1")  # wrong
fo.Momentum(X, nesterov="yes")  # wrong
opt.step("x")  # wrong
opt.learning_rate = 0.1  # wrong
fo.adam_(X, X, X, X, lr=0.1)  # wrong
fo.Adagrad(X)  # wrong

# The rest.
fo.MiniBatches(X, Y, batch_sise=4)  # wrong
fo.MiniBatches(X, batch_size=4, shuffle=3)  # wrong
fo.MiniBatches(X, batch_size=4).batch_size = 5  # wrong
fo.MiniBatches([X, Y], batch_size=4)  # wrong
for x, y, z in fo.MiniBatches(X, Y, batch_size=4):  # wrong
    pass
fo.MiniBatches(X, batch_size=4).seek("start")  # wrong
fo.Permutation(10)["a"]  # wrong
fo.Permutation(10).sead  # wrong
fo.ewma(Y, beta="x")  # wrong
fo.shuffle_(X, sead=1)  # wrong
fo.schedules.inverse_time(0.1)  # wrong
fo.schedules.exponential(0.1, 0.95)  # wrong
fo.schedules.constant("0.1")  # wrong
fo.schedules.constant(0.1)("step")  # wrong
fo.set_num_threads("2")  # wrong
fo.set_threading("tbb")  # wrong
fo.reference.adam(Y, Y, {}, 1, learning_rate=0.1)  # wrong
