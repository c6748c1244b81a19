"""Finds recordings among unpacked packages and makes WAVs of them."""
import os
import random
import re
import subprocess

# How ffmpeg reads what has no header.
RAW = {'g722': ['-f', 'g722'], 'ALS': ['-f', 'u8', '-ar', '11025', '-ac', '1']}


def files(root, folders, pattern, most):
    """At most so many paths below `root/folders` (split by |) that match, in a random order that depends on the seed alone."""
    found = []
    for folder in folders.split('|'):
        for where, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                path = os.path.join(where, name)
                if re.search(pattern, path) and not re.search(r'silence|beep|tt-monkeys|ascending|descending|confbridge-(join|leave)\.', path):
                    found.append(path)
    found.sort()
    random.shuffle(found)
    return found[:most]


def convert(paths, folder, seconds):
    """Writes the first seconds of each as N.wav, 16 kHz mono."""
    os.makedirs(folder, exist_ok=True)
    for first in range(0, len(paths), 40):
        command, outputs = ['ffmpeg', '-nostdin', '-v', 'error', '-y'], []
        for n, path in enumerate(paths[first:first + 40]):
            command += RAW.get(path.rsplit('.')[-1], []) + ['-i', path]
            outputs += ['-map', f'{n}:a:0', '-t', str(seconds), '-ac', '1', '-ar', '16000', '-c:a', 'pcm_s16le', f'{folder}/{first + n:04}.wav']
        subprocess.run(command + outputs, check=False)
