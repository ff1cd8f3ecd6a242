# %% numpy
def average(x, beta):
    v, out = 0.0, []
    for x_t in x:
        v = beta * v + (1 - beta) * x_t
        out.append(v)
    return np.array(out)

celsius = days[1]  # the highest temperature of each day
print(average(celsius, 0.9)[:5].round(2))

# %% fastoptim
v = fo.ewma(celsius, beta=0.9, bias_correction=False)
assert v.tobytes() == average(celsius, 0.9).tobytes()

# %% picture
fig, axes = plt.subplots(figsize=(8.4, 3.8))
axes.plot(celsius[:731], ".", color="#b0b0b0", ms=3, label="highest of the day")
for beta in (0.5, 0.9, 0.98):
    label = rf"$\beta$ = {beta}: about {1 / (1 - beta):.0f} days"
    y = fo.ewma(celsius[:731], beta)
    axes.plot(y, lw=1 if beta == 0.5 else 2, label=label)
axes.set(xlabel="day since 1 January 2012", ylim=(-3, 46),
         ylabel="temperature in Seattle (°C)")
axes.legend(ncols=2, fontsize=9, loc="upper left")
plt.show()

# %% solution
beta = 0.9
weights = (1 - beta) * beta ** np.arange(1000)  # of today, yesterday, ...
print(f"sum of all weights:       {weights.sum():.4f}")
print(f"sum of the last 10 days:  {weights[:10].sum():.4f} = 1 - 0.9**10")
print(f"10 days ago / today:      {weights[10] / weights[0]:.4f}")
print(f"1/e:                      {1 / np.e:.4f}")
