# %% numpy
alpha, beta = 0.03, 0.9
W, v_dW = start.copy(), np.zeros_like(start)
for t in range(40):
    dW = gradient(W)
    v_dW = beta * v_dW + (1 - beta) * dW
    W = W - alpha * v_dW
print("W =", W)
print("cost above the minimum:", cost(W) - cost(best))

# %% fastoptim
W_fo = start.copy()
opt = fo.Momentum(W_fo, lr=0.03, beta=0.9)
for t in range(40):
    opt.step(gradient(W_fo))  # W_fo changes in place
assert W_fo.tobytes() == W.tobytes()

# %% picture
beside_descent("Momentum", lambda W: fo.Momentum(W, lr=0.2, beta=0.75), "C0")

# %% solution
average, total = start.copy(), start.copy()
opt_average = fo.Momentum(average, lr=0.03, beta=0.9)
opt_total = fo.Momentum(total, lr=0.003, beta=0.9, dampening=0.0)
for t in range(40):
    opt_average.step(gradient(average))
    opt_total.step(gradient(total))
print(np.abs(average - total).max())
