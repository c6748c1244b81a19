"""Removes from a corpus what would teach the wrong thing: effects in which somebody speaks, and clips of a speaker in which nobody does.

usage: clean.py CORPUS   (laid out by tests/scenarios/corpus/prepare.py; needs silero-vad, onnxruntime and numpy)
"""
import glob
import os
import sys
import wave

import numpy as np
import onnxruntime
import importlib.util

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
model = onnxruntime.InferenceSession(os.path.join(importlib.util.find_spec("silero_vad").submodule_search_locations[0], 'data', 'silero_vad_16k_op15.onnx'), options)


def voiced_ms(path):
    """How long the VAD hears a voice in a 16 kHz mono WAV, turned up to a common level."""
    try:
        with wave.open(path) as w:
            x = np.frombuffer(w.readframes(w.getnframes()), '<i2').astype(np.float32)
    except EOFError:
        return None
    if len(x) == 0 or not np.abs(x).max():
        return None
    x *= 0.3 / np.abs(x).max()
    state, context, voiced = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), 0
    for at in range(0, len(x) - 511, 512):
        block = np.concatenate([context, x[at:at + 512]])[None]
        score, state = model.run(None, {'input': block, 'state': state, 'sr': np.array(16000, np.int64)})
        voiced += 32 * (score[0, 0] > 0.5)
        context = x[at + 448:at + 512]
    return voiced


for kind, spoilt in (('effects', lambda ms: ms >= 256), ('human', lambda ms: ms == 0)):
    paths = sorted(glob.glob(f'{sys.argv[1]}/tune/{kind}/*/*.wav'))
    gone = 0
    for path in paths:
        ms = voiced_ms(path)
        if ms is None or spoilt(ms):
            os.remove(path)
            gone += 1
    print(f'{kind}: {gone} of {len(paths)} removed', flush=True)
