"""Adds to the tuning half of a corpus what only training needs: many more speakers, sounds and pieces from Debian's games.

usage: more.py UNPACKED_DIR OUT_DIR   (what `fetch OUT_DIR more` unpacked; needs ffmpeg)
"""
import os
import random
import re
import struct
import sys

from recordings import convert, files

root, out = sys.argv[1], sys.argv[2]
random.seed(8)
S, G = 'usr/share/', 'usr/share/games/'
D = S + 'scummvm/drascula/'
H = G + 'hedgewars/Data/Sounds/voices/'
# speaker, folder, pattern, most clips
SPEAKERS = [
    ('msu-ru', S + 'festival/voices/russian/msu_ru_nsh_clunits/wav', r'\.wav$', 400),
    ('drascula-en', D + 'en', r'\.ALS$', 400),
    ('drascula-es', D + 'es', r'\.ALS$', 400),
    ('blupi-us', S + 'planetblupi/sound/en_US', r'\.wav$', 100),
    ('blupi-fr', S + 'planetblupi/sound/fr', r'\.wav$', 100),
] + [(f'kajongg-{who}', f'{S}kajongg/voices/{who}', r'\.ogg$', 50) for who in ('male1', 'male2', 'female1', 'female2')] \
  + [(f'hedgewars-{who.lower()}', H + who, r'\.ogg$', 70)
     for who in 'Default Default_uk Russian Pirate Mobster British Surfer Russian_pl Default_pl HillBilly'.split()]
EFFECTS = [
    f'{G}hedgewars/Data/Sounds|{G}warmux/sound/default/weapons|{G}warmux/sound/default/misc',
    '|'.join([S + 'qabcs/abcs/all/noises'] + [S + 'scratch/Media/Sounds/' + kind for kind in ('Animal', 'Effects', 'Electronic', 'Instruments', 'Percussion')]),
    f'{G}scorched3d|{G}boswars|{S}minetest|{G}endless-sky|{G}btanks|{G}netpanzer|{G}mirrormagic',
    f'{S}hyperrogue|{G}overgod|{G}lugaru|{G}searchandrescue|{S}wordwarvi|{G}pekka-kana-2|{G}plee-the-bear',
    f'{G}caveexpress|{G}micropolis|{G}amphetamine|{G}enigma|{G}crossfire-client|{S}ukui-media|{G}trackballs|{G}dink|{S}gigalomania|{G}triplea',
    f'usr/lib/libreoffice/share/gallery|{G}simutrans|{S}lmms/samples|{G}mame|{G}ardentryst|{G}opencity|{G}dustracing2d|{G}brainparty|{S}xemacs21',
    f'{S}starfighter|{G}7kaa|{S}emacs/site-lisp/emacspeak/sounds|{S}sounds/gnome|{G}freecol|{G}supertux2|{S}buckle|{G}etw|{G}glob2',
]
MUSIC = [
    f'{G}hedgewars/Data/Music|{G}warmux/music|{G}boswars|{G}supertux2/music',
    f'{G}endless-sky|{S}hyperrogue|{G}plee-the-bear|{G}freecol|{G}caveexpress|{G}ardentryst|{G}lordsawar|{G}xmoto',
    f'{S}planetblupi/music|{G}amoebax|{G}etw|{S}gigalomania|{S}scratch/Media/Sounds/Music Loops',
]
# No effects, or nothing that ffmpeg reads.
NOT = re.compile(r'music|voice|prompt|st-magic|README', re.IGNORECASE)


def queen():
    """The lines of Flight of the Amazon Queen by speaker; its one file holds a table (name, bundle, offset, size) and an MP3 for each line."""
    with open(f'{root}/{S}scummvm/flight-of-the-amazon-queen/queen.1c', 'rb') as f:
        data = f.read()
    speakers = {}
    for n in range(struct.unpack_from('>H', data, 13)[0]):
        name, at, size = struct.unpack_from('>12sxII', data, 15 + 21 * n)
        name = name.rstrip(b'\0').decode('latin1')
        if line := re.fullmatch(r'JOE.*\.SB|(C\d).*\.SB|(\d\d)....([JP])\d?\.SB', name):
            scene, person, letter = line.groups()
            who = 'joe' if not (scene or person) or letter == 'J' else (scene or person).lower()
            speakers.setdefault(who, []).append((name, data[at:at + size]))
    return {who: lines for who, lines in speakers.items() if len(lines) >= 24}


for who, lines in sorted(queen().items()):
    random.shuffle(lines)
    paths = [f'{out}/{name}.mp3' for name, _ in lines[:300]]
    for path, (_, mp3) in zip(paths, lines):
        with open(path, 'wb') as f:
            f.write(mp3)
    convert(paths, f'{out}/tune/human/queen-{who}', 9)
    for path in paths:
        os.remove(path)
for speaker, folder, pattern, most in SPEAKERS:
    convert(files(root, folder, pattern, most), f'{out}/tune/human/{speaker}', 9)
for n, folders in enumerate(EFFECTS):
    found = [f for f in files(root, folders, r'\.(ogg|wav|flac|au)$', 10_000) if not NOT.search(f[len(root):])]
    convert(found[:300], f'{out}/tune/effects/h{n}', 4)
for n, folders in enumerate(MUSIC):
    convert(files(root, folders, r'(?i)music.*\.(ogg|wav|mp3)$', 16), f'{out}/tune/music/q{n}', 60)
