# Cells that several pages of the course begin with.

# %% data
import matplotlib.pyplot as plt
import numpy as np
from vega_datasets import local_data

import fastoptim as fo

weather = local_data.seattle_weather()  # every day of 2012 to 2015
names = ["precipitation", "temp_max", "temp_min", "wind"]
days = weather[names].to_numpy(dtype=np.float64).T  # (4, 1461)

# %% rain
X = days[:, :-1]  # today, (n_x, m)
X = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
Y = (days[:1, 1:] > 0).astype(np.float64)  # rain tomorrow: 1 or 0, (1, m)
n_x, m = X.shape

def cost(params, X, Y):
    Z = params["W"] @ X + params["b"]
    # The mean of -(Y log A + (1 - Y) log(1 - A)), for A = sigmoid(Z)
    return np.mean(np.logaddexp(0, Z) - Y * Z)

def gradients(params, X, Y):
    A = 1 / (1 + np.exp(-(params["W"] @ X + params["b"])))
    dZ = (A - Y) / X.shape[1]
    return {"W": dZ @ X.T, "b": dZ.sum(axis=1, keepdims=True)}

def zeros():
    return {"W": np.zeros((1, n_x)), "b": np.zeros((1, 1))}

# %% valley
X = days[[1, 3], :-1]  # today's temperature and wind, (2, m)
Y = days[[1], 1:]  # tomorrow's temperature, (1, m)
X = X - X.mean(axis=1, keepdims=True)  # centred, so that no b is needed
Y = Y - Y.mean(axis=1, keepdims=True)
m = X.shape[1]

def gradient(W):
    return (W @ X - Y) @ X.T / m

def cost(W):
    return np.sum((W @ X - Y) ** 2) / (2 * m)

best = np.linalg.solve(X @ X.T, X @ Y.T).T
start = best + np.array([[0.9, 4.0]])

def walk(opt, W, steps):
    """The points that W visits in that many steps."""
    path = [W.copy()]
    for _ in range(steps):
        opt.step(gradient(W))
        path.append(W.copy())
    return np.array(path).reshape(-1, 2)

def draw(axes, path, title, color="C0"):
    w1 = best[0, 0] + np.linspace(-1.1, 1.1, 30)
    w2 = best[0, 1] + np.linspace(-2.5, 4.8, 30)
    J = [[cost(np.array([[a, b]])) for b in w2] for a in w1]
    axes.contour(w2, w1, J, 14, colors="#c0c0c0", linewidths=0.7)
    axes.plot(path[:, 1], path[:, 0], "-o", color=color, lw=1.2, ms=3)
    axes.plot(best[0, 1], best[0, 0], "k+", ms=11)
    axes.set(title=f"{title}: J is {cost(path[-1:]) - cost(best):.0e} above",
             xlabel="$w_2$ (wind)", ylabel="$w_1$ (temperature)")

def beside_descent(title, make, color):
    """Draws 40 steps of gradient descent, and beside them 40 of another rule."""
    fig, panels = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
    rules = ("Gradient descent", lambda W: fo.SGD(W, lr=0.035), "C1"), (title, make, color)
    for axes, (name, rule, hue) in zip(panels, rules):
        W = start.copy()
        draw(axes, walk(rule(W), W, 40), name, hue)
    panels[1].set_ylabel("")
    plt.show()
