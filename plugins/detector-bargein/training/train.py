"""Trains the network of detector-bargein and writes it as half floats.

usage: train.py [--from MODEL.f16 ...] [--rate X] [--batch N] [--keep X] OUT.f16 EPOCHS VALIDATION.f16 TRAINING.f16...

The inputs are what `features` (tests/scenarios) wrote. Needs numpy and jax. The seed is fixed; on one machine a run repeats itself.
What is lost is counted by frames and by events. A frame says what each output should be, as in any voice detector. An event is what the
decision does with them: each of the user's onsets must raise the output, or its mean, once within its time, and no half second without a
user may raise it at all. The maximum over that time is smooth, as in max-pooling losses of keyword spotters (Sun et al., 2016), and besides
by how much it is wrong, it is counted softly whether it is (minimum classification error, Juang and Katagiri, 1992): what can be
decided then weighs more than what cannot.
What is written is a running mean of the weights (`--keep` of it at each step), as of the epoch that did best on VALIDATION.
From several models it begins with the mean of their weights; models of fewer units get new ones, which nothing hears yet.
No epochs: that mean is written.
"""
import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

FEATURES, LABELS, FRAMES, UNITS, OUTPUTS = 256, 4, 1000, 256, 3
# Frames in which nothing may be raised, and how hard the maximum over an event's time is.
SPAN, HARDNESS = 50, 4.0
# (output, how much of its mean is its latest value, first and last frame after an onset in which it must be raised, weight, where the
# decision stands)
EVENTS = [(1, 0.4, 4, 36, 1.0, 0.7), (1, 0.6, 2, 20, 1.0, 0.7), (0, 1.0, 1, 12, 0.25, -0.5)]
# How sharply an event counts as decided wrongly.
STEEPNESS = 1.5
arguments = argparse.ArgumentParser()
arguments.add_argument('--from', dest='start', nargs='+')
arguments.add_argument('--rate', type=float, default=3e-3)
arguments.add_argument('--batch', type=int, default=64)
arguments.add_argument('--keep', type=float, default=0.995)
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


def run(p, x):
    """Logits of a batch (B, T, FEATURES)."""
    hidden = jax.nn.relu(x @ p['input'][0].T + p['input'][1])
    gates = hidden @ p['gates_input'][0].T + p['gates_input'][1]

    def step(s, g):
        r = s @ p['gates_state'][0].T + p['gates_state'][1]
        update = jax.nn.sigmoid(g[:, :UNITS] + r[:, :UNITS])
        reset = jax.nn.sigmoid(g[:, UNITS:2 * UNITS] + r[:, UNITS:2 * UNITS])
        candidate = jnp.tanh(g[:, 2 * UNITS:] + reset * r[:, 2 * UNITS:])
        s = update * s + (1 - update) * candidate
        return s, s
    _, states = jax.lax.scan(step, jnp.zeros((x.shape[0], UNITS)), gates.transpose(1, 0, 2), unroll=4)
    return states.transpose(1, 0, 2) @ p['output'][0].T + p['output'][1]


def before(x, frames):
    """How many of the last frames (B, T) are set, this one with them."""
    total = jnp.cumsum(x, 1)
    return total - jnp.pad(total, ((0, 0), (frames, 0)))[:, :x.shape[1]]


def ahead(x, frames):
    """How many of the next frames are set, this one not with them."""
    total = jnp.cumsum(x, 1)
    return jnp.pad(total, ((0, 0), (0, frames)), mode='edge')[:, frames:] - total


def by_frame(logits, labels):
    """What each output should say in each frame, and how much it matters."""
    speech, assent, since = labels[..., 0], labels[..., 1], labels[..., 2]
    assent = assent * (1 - speech)
    quiet = 1 - jnp.maximum(speech, assent)
    # Right after the user's last word nobody can tell yet: not counted.
    tail = (since < 900) & (speech < 0.5) & (before(speech, 25) > 0)
    onset = jnp.where(since < 2, 0.4, jnp.where(since < 20, 3.0, 1.0))
    suspect = speech * onset + assent * 0.3 + quiet * jnp.where(tail, 0.05, 1.5)
    sure = speech * jnp.where(since < 6, 0.0, jnp.where(since < 35, 2.0, 1.0)) + assent * 0.5 + quiet * jnp.where(tail, 0.0, 4.0)
    hum = speech * 0.3 + assent * 2.0 + quiet * 0.3
    goal, weight = jnp.stack([jnp.maximum(speech, assent), speech, assent], -1), jnp.stack([suspect, 0.3 * sure, hum], -1)
    return ((jax.nn.softplus(logits) - logits * goal) * weight).mean()


def by_event(logits, labels):
    speech, assent = labels[..., 0] > 0.5, labels[..., 1] > 0.5
    # Onsets after 0.6 s without the user, of words that last, in time before the end.
    first = speech & (before(speech, 60) == 1) & (ahead(speech, 36) >= 28) & (jnp.arange(FRAMES) < FRAMES - 40)
    heard = speech | assent
    quiet = ((before(heard, 90) + ahead(heard, 3)) == 0).reshape(-1, FRAMES // SPAN, SPAN)
    total = 0.0
    for output, pace, begin, end, weight, bar in EVENTS:
        raised = logits[..., output]
        if pace < 1.0:
            shape = pace * (1 - pace) ** jnp.arange(40)
            late = jnp.pad(jax.nn.sigmoid(raised), ((0, 0), (39, 0)))[:, None]
            mean = jax.lax.conv_general_dilated(late, shape[::-1][None, None], (1,), 'VALID')[:, 0].clip(1e-5, 1 - 1e-5)
            raised = jnp.log(mean) - jnp.log1p(-mean)
        times = jnp.stack([jnp.pad(raised, ((0, 0), (0, n)), constant_values=-30.0)[:, n:] for n in range(begin, end + 1)], -1)
        highest = jax.nn.logsumexp(HARDNESS * times, -1) / HARDNESS
        missed = (jax.nn.softplus(1.0 - highest) + jax.nn.sigmoid(STEEPNESS * (bar - highest))) * first
        spans = jnp.where(quiet, raised.reshape(-1, FRAMES // SPAN, SPAN), -30.0)
        highest = jax.nn.logsumexp(HARDNESS * spans, -1) / HARDNESS
        false = (jax.nn.softplus(1.0 + highest) + jax.nn.sigmoid(STEEPNESS * (highest - bar))) * quiet.any(-1)
        total += weight * (missed.sum() + false.sum())
    return total / labels.shape[0]


def losses(p, x, labels):
    logits = run(p, x)
    return by_frame(logits, labels), by_event(logits, labels)


def loss(p, x, labels):
    frame, event = losses(p, x, labels)
    return 0.5 * frame + 0.02 * event, (frame, event)


@jax.jit
def step(p, mean, m, v, t, rate, x, labels):
    (_, parts), g = jax.value_and_grad(loss, has_aux=True)(p, x, labels)
    norm = jnp.sqrt(sum((a ** 2).sum() for a in jax.tree.leaves(g)))
    g = jax.tree.map(lambda a: a * jnp.minimum(1.0, 1.0 / (norm + 1e-9)), g)
    m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
    v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
    c1, c2 = 1 - 0.9 ** t, 1 - 0.999 ** t
    p = jax.tree.map(lambda w, a, b: w - rate * (a / c1 / (jnp.sqrt(b / c2) + 1e-8) + 1e-4 * w), p, m, v)
    keep = jnp.minimum(given.keep, t / (t + 10))
    mean = jax.tree.map(lambda a, w: keep * a + (1 - keep) * w, mean, p)
    return p, mean, m, v, parts


LAYERS = ('input', 'gates_input', 'gates_state', 'output')


def restore(p, path):
    """An earlier run's weights; units that it does not have stay as they are, unheard by those that it has."""
    flat, at = np.fromfile(path, '<f2').astype(np.float32), 0
    units = next(u for u in range(1, UNITS + 1) if u * (FEATURES + 1) + 6 * u * (u + 1) + OUTPUTS * (u + 1) == flat.size)
    p = jax.tree.map(np.copy, p)
    for name in LAYERS:
        for k in (0, 1):
            # Gates stand one below the other.
            gates = 3 if name.startswith('gates') else 1
            now = p[name][k].reshape(gates, p[name][k].shape[0] // gates, -1)
            rows = OUTPUTS if name == 'output' else units
            columns = 1 if k else FEATURES if name == 'input' else units
            size = gates * rows * columns
            now[:, :rows] = 0.0
            now[:, :rows, :columns] = flat[at:at + size].reshape(gates, rows, columns)
            at += size
    return p


def save(p):
    flat = [np.asarray(p[name][k], np.float16).ravel() for name in LAYERS for k in (0, 1)]
    np.concatenate(flat).astype('<f2').tofile(out)


files, held = load(training), load([validation])[0]
index = [(f, n) for f in range(len(files)) for n in range(len(files[f]))]
sample = np.stack([files[f][n] for f, n in index[:: max(1, len(index) // 200)]])[..., :FEATURES].reshape(-1, FEATURES).astype(np.float32)
rng = np.random.default_rng(5)
p = initial(rng, sample.mean(0), sample.std(0) + 0.05)
if given.start:
    p = jax.tree.map(lambda *weights: np.mean(weights, 0), *(restore(p, path) for path in given.start))
mean = p
m = jax.tree.map(np.zeros_like, p)
v = jax.tree.map(np.zeros_like, p)
print(f'{len(index)} scenarios, {sum(a.size for a in jax.tree.leaves(p))} weights', flush=True)
judge = jax.jit(losses)


def judge_held(p):
    parts = [held[k:k + 20].astype(np.float32) for k in range(0, len(held) - 19, 20)]
    return np.mean([[float(a) for a in judge(p, x[..., :FEATURES], x[..., FEATURES:])] for x in parts], 0).round(4)


print(f'before: held out, by frames and events {judge_held(p)}', flush=True)
if not epochs:
    save(p)
t, steps = 0, epochs * (len(index) // BATCH)
began, best = time.time(), np.inf
for epoch in range(epochs):
    order, total = rng.permutation(len(index)), []
    for first in range(0, len(order) - BATCH + 1, BATCH):
        t += 1
        rate = given.rate * min(1.0, t / 30) * (0.5 + 0.5 * np.cos(np.pi * t / steps)) + 1e-5
        batch = np.stack([files[index[k][0]][index[k][1]] for k in np.sort(order[first:first + BATCH])]).astype(np.float32)
        p, mean, m, v, parts = step(p, mean, m, v, float(t), rate, batch[..., :FEATURES], batch[..., FEATURES:])
        total.append(parts)
        if len(total) % 20 == 0:
            loud = np.mean([[float(a) for a in parts] for parts in total[-20:]], 0).round(4)
            print(f'  {first + BATCH} scenarios: {loud} ({time.time() - began:.0f} s)', flush=True)
    now, still = judge_held(p), judge_held(mean)
    print(f'epoch {epoch + 1}: held out {now}, mean {still} ({time.time() - began:.0f} s)', flush=True)
    if still[1] < best:
        best = still[1]
        save(mean)
