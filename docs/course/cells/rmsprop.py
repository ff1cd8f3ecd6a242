# %% numpy
alpha, beta, eps = 0.1, 0.9, 1e-8
W, s_dW = start.copy(), np.zeros_like(start)
for t in range(40):
    dW = gradient(W)
    s_dW = beta * s_dW + (1 - beta) * dW**2  # elementwise
    W = W - alpha * dW / (np.sqrt(s_dW) + eps)
print("W =", W)
print("cost above the minimum:", cost(W) - cost(best))

# %% fastoptim
W_fo = start.copy()
opt = fo.RMSProp(W_fo, lr=0.1, beta=0.9, eps=1e-8)
for t in range(40):
    opt.step(gradient(W_fo))
assert W_fo.tobytes() == W.tobytes()

# %% picture
beside_descent("RMSProp", lambda W: fo.RMSProp(W, lr=0.15, beta=0.9), "C2")

# %% solution
W = np.zeros(2)
opt = fo.RMSProp(W, lr=0.001, beta=0.9)
opt.step(np.array([1000.0, 0.001]))  # two gradients, a million times apart
print(W, " = -0.001 / sqrt(1 - 0.9) =", -0.001 / np.sqrt(0.1))
