# %% numpy
def corrected_average(x, beta):
    v, out = 0.0, []
    for t, x_t in enumerate(x, 1):
        v = beta * v + (1 - beta) * x_t
        out.append(v / (1 - beta**t))
    return np.array(out)

celsius = days[1]
print("days:      ", celsius[:4])
print("corrected: ", corrected_average(celsius, 0.98)[:4].round(2))

# %% fastoptim
y = fo.ewma(celsius, beta=0.98)  # bias_correction=True is the default
assert np.allclose(y, corrected_average(celsius, 0.98), rtol=1e-13)

# %% picture
fig, panels = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True)
for axes, beta in zip(panels, (0.9, 0.98)):
    axes.plot(celsius[:112], ".", color="#b0b0b0", ms=4)
    v = fo.ewma(celsius[:112], beta, bias_correction=False)
    axes.plot(v, "--", color="C1", label="$v_t$")
    y = fo.ewma(celsius[:112], beta)
    axes.plot(y, color="C0", label=r"$v_t\,/\,(1-\beta^t)$")
    axes.set(title=rf"$\beta$ = {beta}", xlabel="day")
    axes.legend()
panels[0].set_ylabel("temperature in Seattle (°C)")
plt.show()

# %% solution
for beta in (0.9, 0.98, 0.999):
    t = np.arange(1, 100_000)
    weight_sum = 1 - beta**t
    print(f"beta = {beta}: within 1 % from step {t[weight_sum > 0.99][0]} on")
