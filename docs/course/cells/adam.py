# %% numpy
alpha, beta1, beta2, eps = 0.1, 0.9, 0.999, 1e-8
W, v_dW, s_dW = start.copy(), np.zeros_like(start), np.zeros_like(start)
for t in range(1, 41):  # t counts from 1
    dW = gradient(W)
    v_dW = beta1 * v_dW + (1 - beta1) * dW
    s_dW = beta2 * s_dW + (1 - beta2) * dW**2
    v_corrected = v_dW / (1 - beta1**t)
    s_corrected = s_dW / (1 - beta2**t)
    W = W - alpha * v_corrected / (np.sqrt(s_corrected) + eps)
print("W =", W)
print("cost above the minimum:", cost(W) - cost(best))

# %% fastoptim
W_fo = start.copy()
opt = fo.Adam(W_fo, lr=0.1, betas=(0.9, 0.999), eps=1e-8)
for t in range(40):
    opt.step(gradient(W_fo))
assert np.allclose(W_fo, W, rtol=1e-12)

# %% bytes
W_ref, states = start.copy(), {}
for t in range(1, 41):
    W_ref = fo.reference.adam(W_ref, gradient(W_ref), states, t, lr=0.1)
assert W_ref.tobytes() == W_fo.tobytes()

# %% picture
def train(make, X, epochs=20):
    params = zeros()
    opt = make(params)
    batches = fo.MiniBatches(X, Y, batch_size=64, axis=1, seed=0)
    costs = [cost(params, X, Y)]
    for epoch in range(epochs):
        for x, y in batches:
            opt.step(gradients(params, x, y))
        costs.append(cost(params, X, Y))
    return costs

rules = {
    "gradient descent": lambda p: fo.SGD(p, lr=0.003),
    "Momentum": lambda p: fo.Momentum(p, lr=0.003, beta=0.9),
    "RMSProp": lambda p: fo.RMSProp(p, lr=0.01, beta=0.9),
    "Adam": lambda p: fo.Adam(p, lr=0.01),
}
fig, axes = plt.subplots(figsize=(8.4, 3.6))
for name, make in rules.items():
    axes.plot(train(make, days[:, :-1]), label=name)
axes.set(title="Will it rain tomorrow? From the raw units, batches of 64",
         xlabel="epoch", ylabel="cost J of all samples")
axes.legend()
plt.show()

# %% solution
W = np.array([1.0, -2.0, 3.0])
before = W.copy()
fo.Adam(W, lr=0.001).step(np.array([1e-3, -5.0, 4000.0]))
print("first step:", (W - before).round(9))
