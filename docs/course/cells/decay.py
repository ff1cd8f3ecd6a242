# %% numpy
def inverse_time(alpha0, decay_rate, epoch):
    return alpha0 / (1 + decay_rate * epoch)

print([round(inverse_time(0.2, 1.0, epoch), 4) for epoch in range(5)])

# %% fastoptim
n = -(-m // 8)  # steps in an epoch of batches of 8: 183
schedule = fo.schedules.inverse_time(0.2, decay_rate=1.0, steps_per_epoch=n)
print([round(schedule(epoch * n), 4) for epoch in range(5)])

# %% schedules
epochs = np.arange(60)
make = fo.schedules
curves = {
    "inverse_time, decay_rate=0.1": make.inverse_time(0.2, decay_rate=0.1),
    "exponential, base=0.95": make.exponential(0.2, base=0.95),
    "inverse_sqrt": make.inverse_sqrt(0.2),
    "staircase, every=15": make.staircase(0.2, factor=0.5, every=15),
    "piecewise": make.piecewise({0: 0.2, 20: 0.06, 45: 0.02}),
}
fig, axes = plt.subplots(figsize=(8.4, 3.6))
for label, curve in curves.items():
    axes.step(epochs, curve(epochs), where="post", label=label)
axes.set(xlabel="epoch e", ylabel=r"learning rate $\alpha$")
axes.legend(fontsize=9)
plt.show()

# %% train
def train(lr, epochs=12):
    params = zeros()
    opt = fo.SGD(params, lr=lr)  # a number or a schedule
    batches = fo.MiniBatches(X, Y, batch_size=8, axis=1, seed=0)
    costs = []
    for epoch in range(epochs):
        for x, y in batches:
            opt.step(gradients(params, x, y))
            costs.append(cost(params, X, Y))
    return np.array(costs)

exact = zeros()
descent = fo.SGD(exact, lr=1.0)
for _ in range(3000):
    descent.step(gradients(exact, X, Y))  # all samples: no noise
lowest = cost(exact, X, Y)

# %% picture
fig, axes = plt.subplots(figsize=(8.4, 3.6))
for label, lr in (("constant, 0.2", 0.2), ("inverse_time from 0.2", schedule)):
    excess = train(lr) - lowest
    axes.plot(fo.ewma(excess, 0.98), label=label)
axes.set(yscale="log", xlabel="step (8 samples each)",
         ylabel="cost above the lowest")
axes.legend()
plt.show()

# %% solution
for alpha in (0.02, 0.2, schedule):
    excess = train(alpha) - lowest
    name = alpha if isinstance(alpha, float) else "decaying"
    print(f"{name!s:9} after one epoch {excess[150:n].mean():.5f}, "
          f"after twelve {excess[-n:].mean():.5f}")
