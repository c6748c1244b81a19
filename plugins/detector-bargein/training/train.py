"""Trains the network of detector-bargein and writes it as half floats.

usage: train.py [--from MODEL.f16 ...] [--rate X] [--batch N] [--keep X] OUT.f16 EPOCHS VALIDATION.f16 TRAINING.f16...

The inputs are what `features` (tests/scenarios) wrote. Needs numpy and jax. The seed is fixed; on one machine a run repeats itself.
What is written is a running mean of the weights (`--keep` of it at each step), as of the epoch that did best on VALIDATION.
From several models it begins with the mean of their weights.
"""
import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

FEATURES, LABELS, FRAMES, UNITS, OUTPUTS = 256, 4, 1000, 160, 3
CHUNK = 250
arguments = argparse.ArgumentParser()
arguments.add_argument('--from', dest='start', nargs='+')
arguments.add_argument('--rate', type=float, default=3e-3)
arguments.add_argument('--batch', type=int, default=32)
arguments.add_argument('--keep', type=float, default=0.998)
arguments.add_argument('out')
arguments.add_argument('epochs', type=int)
arguments.add_argument('validation')
arguments.add_argument('training', nargs='+')
given = arguments.parse_args()
out, epochs, validation, training, BATCH = given.out, given.epochs, given.validation, given.training, given.batch


def load(paths):
    """Files are mapped, not read: 15,000 scenarios are 7 GB."""
    return [np.memmap(p, dtype=np.float16, mode='r').reshape(-1, FRAMES, FEATURES + LABELS) for p in paths]


def initial(rng, mean, deviation):
    def layer(rows, columns, gain=1.0):
        return [rng.normal(0, gain / np.sqrt(columns), (rows, columns)).astype(np.float32), np.zeros(rows, np.float32)]
    first = layer(UNITS, FEATURES, 1.4)
    # Normalisation is folded into the first layer, so the network takes features as they are.
    first[0] = first[0] / deviation
    first[1] = -first[0] @ mean
    return {'input': first, 'gates_input': layer(3 * UNITS, UNITS), 'gates_state': layer(3 * UNITS, UNITS), 'output': layer(OUTPUTS, UNITS)}


def run(p, state, x):
    """Logits of a batch (B, T, FEATURES) and the state behind it."""
    hidden = jax.nn.relu(x @ p['input'][0].T + p['input'][1])
    gates = hidden @ p['gates_input'][0].T + p['gates_input'][1]

    def step(s, g):
        r = s @ p['gates_state'][0].T + p['gates_state'][1]
        update = jax.nn.sigmoid(g[:, :UNITS] + r[:, :UNITS])
        reset = jax.nn.sigmoid(g[:, UNITS:2 * UNITS] + r[:, UNITS:2 * UNITS])
        candidate = jnp.tanh(g[:, 2 * UNITS:] + reset * r[:, 2 * UNITS:])
        s = update * s + (1 - update) * candidate
        return s, s
    state, states = jax.lax.scan(step, state, gates.transpose(1, 0, 2), unroll=4)
    return states.transpose(1, 0, 2) @ p['output'][0].T + p['output'][1], state


@jax.jit
def targets(labels):
    """What each output should say in each frame, and how much it matters."""
    speech, assent, since = labels[..., 0], labels[..., 1], labels[..., 2]
    assent = assent * (1 - speech)
    quiet = 1 - jnp.maximum(speech, assent)
    # Right after the user's last word nobody can tell yet: not counted.
    ended = (since < 900) & (speech < 0.5)
    recent = jnp.cumsum(speech, 1) - jnp.pad(jnp.cumsum(speech, 1), ((0, 0), (25, 0)))[:, :speech.shape[1]] > 0
    tail = ended & recent & (speech < 0.5)
    onset = jnp.where(since < 2, 0.4, jnp.where(since < 20, 3.0, 1.0))
    suspect = speech * onset + assent * 0.3 + quiet * jnp.where(tail, 0.05, 1.5)
    sure = speech * jnp.where(since < 6, 0.0, jnp.where(since < 35, 2.0, 1.0)) + assent * 0.5 + quiet * jnp.where(tail, 0.0, 4.0)
    hum = speech * 0.3 + assent * 2.0 + quiet * 0.3
    return jnp.stack([jnp.maximum(speech, assent), speech, assent], -1), jnp.stack([suspect, sure, hum], -1)


def loss(p, state, x, goal, weight):
    logits, state = run(p, state, x)
    error = jnp.maximum(logits, 0) - logits * goal + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return (error * weight).mean(), state


@jax.jit
def step(p, mean, m, v, t, rate, state, x, goal, weight):
    (value, state), g = jax.value_and_grad(loss, has_aux=True)(p, state, x, goal, weight)
    norm = jnp.sqrt(sum((a ** 2).sum() for a in jax.tree.leaves(g)))
    g = jax.tree.map(lambda a: a * jnp.minimum(1.0, 1.0 / (norm + 1e-9)), g)
    m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
    v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
    c1, c2 = 1 - 0.9 ** t, 1 - 0.999 ** t
    p = jax.tree.map(lambda w, a, b: w - rate * (a / c1 / (jnp.sqrt(b / c2) + 1e-8) + 1e-4 * w), p, m, v)
    keep = jnp.minimum(given.keep, t / (t + 10))
    mean = jax.tree.map(lambda a, w: keep * a + (1 - keep) * w, mean, p)
    return p, mean, m, v, value, jax.lax.stop_gradient(state)


def restore(p, paths):
    """The weights of earlier runs, their mean."""
    flat, at = np.mean([np.fromfile(path, '<f2').astype(np.float32) for path in paths], 0), 0
    for name in ('input', 'gates_input', 'gates_state', 'output'):
        for k in (0, 1):
            size = p[name][k].size
            p[name][k] = flat[at:at + size].reshape(p[name][k].shape)
            at += size
    return p


def save(p):
    flat = [np.asarray(p[name][k], np.float16).ravel() for name in ('input', 'gates_input', 'gates_state', 'output') for k in (0, 1)]
    np.concatenate(flat).astype('<f2').tofile(out)


files, held = load(training), load([validation])[0]
index = [(f, n) for f in range(len(files)) for n in range(len(files[f]))]
sample = np.stack([files[f][n] for f, n in index[:: max(1, len(index) // 200)]])[..., :FEATURES].reshape(-1, FEATURES).astype(np.float32)
rng = np.random.default_rng(5)
p = initial(rng, sample.mean(0), sample.std(0) + 0.05)
if given.start:
    p = restore(p, given.start)
mean = p
m = jax.tree.map(np.zeros_like, p)
v = jax.tree.map(np.zeros_like, p)
print(f'{len(index)} scenarios, {sum(a.size for a in jax.tree.leaves(p))} weights', flush=True)
judge = jax.jit(lambda p, x, y: loss(p, jnp.zeros((x.shape[0], UNITS)), x, *targets(y))[0])


def judge_held(p):
    parts = [held[k:k + 20].astype(np.float32) for k in range(0, len(held) - 19, 20)]
    return np.mean([float(judge(p, x[..., :FEATURES], x[..., FEATURES:])) for x in parts])


if given.start:
    print(f'before: held out {judge_held(p):.4f}', flush=True)
t, steps = 0, epochs * (len(index) // BATCH) * (FRAMES // CHUNK)
began, best = time.time(), np.inf
for epoch in range(epochs):
    order, total = rng.permutation(len(index)), []
    for first in range(0, len(order) - BATCH + 1, BATCH):
        batch = np.stack([files[index[k][0]][index[k][1]] for k in np.sort(order[first:first + BATCH])]).astype(np.float32)
        state = jnp.zeros((BATCH, UNITS))
        goal, weight = targets(batch[..., FEATURES:])
        for at in range(0, FRAMES, CHUNK):
            t += 1
            now = slice(at, at + CHUNK)
            rate = given.rate * min(1.0, t / 50) * (0.5 + 0.5 * np.cos(np.pi * t / steps)) + 2e-5
            p, mean, m, v, value, state = step(p, mean, m, v, float(t), rate, state, batch[:, now, :FEATURES], goal[:, now], weight[:, now])
            total.append(value)
        if len(total) % 80 == 0:
            print(f'  {first + BATCH} scenarios: {np.mean([float(a) for a in total[-80:]]):.4f} ({time.time() - began:.0f} s)', flush=True)
    check = [judge_held(w) for w in (p, mean)]
    loud = np.mean([float(a) for a in total])
    print(f'epoch {epoch + 1}: {loud:.4f} held out {check[0]:.4f}, mean {check[1]:.4f} ({time.time() - began:.0f} s)', flush=True)
    if check[1] < best:
        best = check[1]
        save(mean)
