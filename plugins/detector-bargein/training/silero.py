"""Takes the weights of Silero VAD v6 (16 kHz, MIT) out of its package and writes them as half floats for `silero.rs`.

usage: silero.py OUT.f16 [--check]   (needs numpy, onnx and silero-vad 6.2.3 from PyPI; with --check onnxruntime, too)

What the network never reaches at one frame of 512 samples is left out: the Fourier basis (a Hann window and a transform), the first
tap of the third convolution and the outer ones of the fourth, which only see padding. --check prints what the original ONNX model
says of the signal in silero.rs's test.
"""
import importlib.util
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper

folder = os.path.join(os.path.dirname(importlib.util.find_spec('silero_vad').origin), 'data')
graph = onnx.load(os.path.join(folder, 'silero_vad_16k_op15.onnx')).graph
W = {n.output[0]: numpy_helper.to_array(a.t) for n in graph.node for a in n.attribute if a.name == 'value'}
W |= {t.name: numpy_helper.to_array(t) for t in graph.initializer}

# The first half of the basis is a windowed cosine, the second a sine: checked, not assumed.
n = np.arange(256)
hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 256)
basis = W['model.stft.forward_basis_buffer'][:, 0]
assert np.abs(basis[:129] - hann * np.cos(2 * np.pi * np.outer(np.arange(129), n) / 256)).max() < 1e-3


def taps(name, first, last):
    """Rows of outputs, taps one behind the other, inputs innermost."""
    w = W[f'model.encoder.{name}.reparam_conv.weight'][:, :, first:last]
    return [w.transpose(0, 2, 1), W[f'model.encoder.{name}.reparam_conv.bias']]


parts = taps(0, 0, 3) + taps(1, 0, 3) + taps(2, 1, 3) + taps(3, 1, 2)
parts += [np.concatenate([W['model.decoder.rnn.weight_ih'], W['model.decoder.rnn.weight_hh']], 1)]
parts += [W['model.decoder.rnn.bias_ih'] + W['model.decoder.rnn.bias_hh']]
parts += [W['model.decoder.decoder.2.weight'], W['model.decoder.decoder.2.bias']]
np.concatenate([p.ravel() for p in parts]).astype('<f2').tofile(sys.argv[1])

if '--check' in sys.argv:
    import onnxruntime
    session = onnxruntime.InferenceSession(os.path.join(folder, 'silero_vad.onnx'))
    k = np.arange(16000 * 2)
    seed, noise = 1, []
    for _ in k:
        seed = (seed * 1664525 + 1013904223) % 2**32
        noise.append((seed >> 8) / 2**23 - 1)
    # A buzz of 120 Hz through a slow vowel, in noise, and then the noise alone.
    buzz = sum(np.sin(2 * np.pi * 120 * h * k / 16000) * np.exp(-((120 * h - 600 - 300 * np.sin(k / 2500)) / 350) ** 2) for h in range(1, 30))
    x = (0.1 * buzz * (k < 20000) * np.sin(k / 3000) ** 2 + 0.003 * np.array(noise)).astype(np.float32)
    state, context, said = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for at in range(0, len(x) - 511, 512):
        frame = np.concatenate([context, x[at:at + 512]])[None]
        p, state = session.run(None, {'input': frame, 'state': state, 'sr': np.array(16000, np.int64)})
        context = x[at + 448:at + 512]
        said.append(float(p[0, 0]))
    print([round(p, 4) for p in said])
