# %% numpy
def numpy_batches(X, Y, batch_size, rng):
    order = rng.permutation(X.shape[1])
    for k in range(0, len(order), batch_size):
        columns = order[k:k + batch_size]  # the last batch may be shorter
        yield X[:, columns], Y[:, columns]

rng = np.random.default_rng(0)
print([x.shape[1] for x, y in numpy_batches(X, Y, 512, rng)])

# %% fastoptim
# axis=1: the samples are columns
batches = fo.MiniBatches(X, Y, batch_size=512, axis=1, seed=0)
print([x.shape[1] for x, y in batches])

# %% train
def train(batch_size, alpha, epochs=30):
    params = zeros()
    opt = fo.SGD(params, lr=alpha)
    batches = fo.MiniBatches(X, Y, batch_size=batch_size, axis=1, seed=0)
    costs, noisy = [cost(params, X, Y)], []
    for epoch in range(epochs):
        for x, y in batches:
            noisy.append(cost(params, x, y))  # what this step sees
            opt.step(gradients(params, x, y))
        costs.append(cost(params, X, Y))  # what the epoch achieved
    return costs, noisy

runs = {m: train(m, 1.0), 1: train(1, 0.01), 64: train(64, 0.3)}
for size, (costs, noisy) in runs.items():
    print(f"batch size {size:4}: {len(noisy):5} steps, cost {costs[-1]:.4f}")

# %% picture
labels = {1: "stochastic (1)", 64: "mini-batch (64)", m: f"batch (m = {m})"}
fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4))
for size, label in labels.items():
    costs, noisy = runs[size]
    left.plot(noisy[:30], lw=1)
    right.plot(costs, label=label)
left.set(title="Each step's own batch", xlabel="step", ylabel="cost J")
right.set(title="All samples", xlabel="epoch", ylim=(0.56, 0.64))
right.legend()
plt.show()

# %% solution
for size in (64, 128, 256, 512):
    costs, noisy = train(size, alpha=0.3)
    per_epoch = len(noisy) // 30
    last = m - size * (per_epoch - 1)
    print(f"batch size {size:3}: {per_epoch:2} steps an epoch, "
          f"last batch {last:3}, cost {costs[-1]:.4f}")
