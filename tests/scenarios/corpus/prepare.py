"""Builds the corpus of human and synthetic voices, music and sound effects from Debian packages.

usage: prepare.py UNPACKED_DIR OUT_DIR   (what `fetch` unpacked; needs ffmpeg, espeak-ng and flite)

Writes 16 kHz mono 16-bit WAV under OUT/{tune,test}/{human,agent,assent,music,effects}/SPEAKER/N.wav. A speaker, a language, a piece of
music or an effect belongs to one split only, so that nothing heard in tuning is heard again in the test.
"""
import os, random, re, subprocess, sys

from recordings import convert, files

root, out = sys.argv[1], sys.argv[2]
random.seed(5)
A = 'usr/share/asterisk/sounds/'
T = 'usr/share/tuxpaint/stamps'
K = 'usr/share/klettres/'
# split, speaker, language, folder, pattern, most clips
HUMAN = [
    ('tune', 'allison', 'en', A + 'en_US_f_Allison', r'\.g722$', 330),
    ('tune', 'allison', 'es', A + 'es_MX_f_Allison', r'\.g722$', 260),
    ('tune', 'june', 'fr', A + 'fr_CA_f_June', r'\.g722$', 280),
    ('tune', 'ivrvoice', 'ru', A + 'ru_RU_f_IvrvoiceRU', r'\.g722$', 280),
    ('tune', 'armelle', 'fr', A + 'fr', r'\.(wav|gsm)$', 150),
    ('tune', 'esco', 'es', A + 'es', r'\.(wav|gsm)$', 150),
    ('test', 'carlo', 'it', A + 'it_IT_m_Carlo', r'\.g722$', 280),
    ('test', 'menardi', 'it', A + 'it_IT_f_Menardi', r'\.(wav|g722)$', 280),
    ('tune', 'fillets', 'cs', 'usr/share/games/fillets-ng/sound', r'/cs/.*\.ogg$', 420),
    ('test', 'fillets', 'nl', 'usr/share/games/fillets-ng/sound', r'/nl/.*\.ogg$', 330),
    ('tune', 'gcin', 'zh', 'usr/share/gcin-voice', r'\.ogg$', 150),
] + [('tune', 'tux', lang, T, rf'_desc_{lang}\.ogg$', 170) for lang in ('fr', 'ru', 'es', 'bg', 'be')] \
  + [('test', 'tux', lang, T, rf'_desc_{lang}\.ogg$', 150) for lang in ('el', 'ro', 'ca', 'da')] \
  + [('tune', 'klettres', lang, K + lang, r'\.ogg$', 45)
     for lang in ('en', 'en_GB', 'es', 'cs', 'ru', 'uk', 'fr', 'nds', 'nn', 'nb', 'ml', 'ar', 'sl', 'lug', 'kn')] \
  + [('test', 'klettres', lang, K + lang, r'\.ogg$', 45) for lang in ('de', 'hu', 'he', 'pt_BR', 'lt', 'id', 'tn', 'nl', 'it', 'da')]
MUSIC = [
    ('tune', 'usr/share/asterisk/moh', r'(manolo|macroform-cold|macroform-robot).*\.(g722|wav)$', 6),
    ('test', 'usr/share/asterisk/moh', r'(reno|macroform-the).*\.(g722|wav)$', 4),
    ('tune', 'usr/share/games/fillets-ng/music', r'rybky0[1-9].*\.ogg$', 8),
    ('test', 'usr/share/games/fillets-ng/music', r'rybky1.*\.ogg$', 6),
    ('tune', 'usr/share/pingus|usr/share/games/pingus', r'music.*\.(ogg|wav)$', 8),
    ('test', 'usr/share/games/frozen-bubble/snd', r'(main|intro).*\.ogg$', 4),
]
EFFECTS = [
    ('tune', 'usr/share/games/fillets-ng/sound', r'/en/.*\.ogg$', 120),
    ('tune', 'usr/share/sounds/freedesktop', r'\.oga$', 30),
    ('tune', 'usr/share/sonic-pi/samples', r'/(perc|elec|drum|tabla|vinyl|misc).*\.flac$', 90),
    ('test', 'usr/share/sounds', r'[Oo]xygen.*\.ogg$', 50),
    ('test', 'usr/share/sonic-pi/samples', r'/(ambi|bd|glitch|mehackit|sn|hat|ride).*\.flac$', 70),
    ('test', 'usr/share/games/frozen-bubble/snd', r'^(?!.*(main|intro)).*\.ogg$', 20),
]
# Joined later, with a shuffle of their own, so that what was drawn before stays as it was.
MORE_MUSIC = [
    ('usr/share/games/singularity/music|usr/share/games/asc/music', r'\.ogg$', 12),
    ('usr/share/games/etr/music|usr/share/games/lincity-ng/music', r'\.ogg$', 12),
    ('usr/share/games/fretsonfire', r'(guitar|song|rhythm)\.ogg$', 8),
]
G = 'usr/share/games/'
MORE_EFFECTS = [
    (G + 'wesnoth', r'sounds/.*\.(ogg|wav)$', 260),
    (G + 'lincity-ng/sounds', r'\.(wav|ogg)$', 141),
    (f'{G}tecnoballz|{G}etr/sounds|{G}neverball|{G}bomberclone|{G}teeworlds', r'\.(wav|ogg|wv)$', 120),
]
# People's voices among the effects: a detector that learned them as noise would not hear a user, and the test would call it false that it does.
VOICES = re.compile(
    r'/(audio-(channel|test)|deu-|war-[ak]-|d1-z-|ves-|dr-|tyc-pauau|disk-x-|ncp-x-ihaha|sp-smrt|steel-x-|bot-x-|bar-x-|tr-x-|sl-m-'
    r'|Substation|Residential|ogre-|merm|human-|goblin-hit|elf-hit|dwarf-laugh|groan|ugg|rappar|arrive|tusker-|noh\.)[^/]*$'
)
TUNE_VOICES = 'en en-us en-gb-scotland de es es-419 fr ru pl sv pt cs fi tr cmn hi ar fa bg ko vi sw uk et lv ms'.split()
TEST_VOICES = 'it nl pt-br ro hu el da nb lt id eo he ja ta ka sq en-gb-x-rp ca'.split()


for split, speaker, lang, folder, pattern, most in HUMAN:
    found = files(root, folder, pattern, most)
    print(split, speaker, lang, len(found), flush=True)
    convert(found, f'{out}/{split}/human/{speaker}-{lang}', 9)
for n, (split, folder, pattern, most) in enumerate(MUSIC):
    convert(files(root, folder, pattern, most), f'{out}/{split}/music/m{n}', 90)
for n, (split, folder, pattern, most) in enumerate(EFFECTS):
    found = files(root, folder, pattern, most)
    convert([f for f in found if not VOICES.search(f)], f'{out}/{split}/effects/e{n}', 4)


def speak(voices, folder, count, seconds, text):
    """espeak-ng in many voices; every clip with a variant, pace and pitch of its own."""
    for voice in voices:
        paths = []
        for n in range(count):
            variant = random.choice(['', '+f2', '+f3', '+f5', '+m3', '+m7', '+croak', '+klatt4', '+m1'])
            path = f'{out}/espeak-{n}.wav'
            subprocess.run(['espeak-ng', '-v', voice + variant, '-s', str(random.randrange(130, 220)), '-p', str(random.randrange(15, 90)), '-w', path, text()], check=False)
            if os.path.exists(path):
                paths.append(path)
        convert(paths, f'{folder}/{voice}', seconds)
        for path in paths:
            os.remove(path)


def digits():
    """Digits are read in every language without a text of it."""
    return ' '.join(str(random.choice([random.randrange(10), random.randrange(100), random.randrange(100000)])) + random.choice(['', '', ',', '.'])
                    for _ in range(random.randrange(6, 14)))


for split, voices in (('tune', TUNE_VOICES), ('test', TEST_VOICES)):
    speak(voices, f'{out}/{split}/agent', 7, 15, digits)
    speak(voices[::2], f'{out}/{split}/assent', 4, 2, lambda: random.choice(['mhm', 'mm hm', 'hmm', 'uh huh', 'aha', 'mm']))

random.seed(6)
more_music = [files(root, *m) for m in MORE_MUSIC]
more_effects = [files(root, *e) for e in MORE_EFFECTS]
for n, found in enumerate(more_music):
    convert(found, f'{out}/tune/music/n{n}', 60)
for n, found in enumerate(more_effects):
    convert([f for f in found if not VOICES.search(f)], f'{out}/tune/effects/f{n}', 4)

random.seed(7)
for lang in ('fr', 'uk', 'ru', 'wa', 'en', 'sl', 'gl', 'sr', 'sv', 'nds', 'es', 'fi', 'ga'):
    found = files(root, f'usr/share/ktuberling/sounds/{lang}', r'\.(ogg|wav)$', 150)
    print('tune ktuberling', lang, len(found), flush=True)
    convert(found, f'{out}/tune/human/ktuberling-{lang}', 9)
for n, (folders, pattern, most) in enumerate([(G + 'colobot/music', r'\.ogg$', 12), ('usr/share/sounds/lomiri/ringtones', r'\.ogg$', 20)]):
    convert(files(root, folders, pattern, most), f'{out}/tune/music/p{n}', 60)
convert(files(root, G + 'colobot/sounds', r'\.(ogg|wav)$', 100), f'{out}/tune/effects/g0', 4)
for voice in ('awb', 'rms', 'slt', 'kal16'):
    paths = []
    for n in range(20):
        paths.append(f'{out}/flite-{n}.wav')
        pace, pitch = random.uniform(0.85, 1.25), random.uniform(-25, 25)
        subprocess.run(['flite', '-voice', voice, '--setf', f'duration_stretch={pace:.2f}', '--setf', f'int_f0_target_mean={(180 if voice == "slt" else 105) + pitch:.0f}', '-t', digits(), '-o', paths[-1]], check=True)
    convert(paths, f'{out}/tune/agent/flite-{voice}', 15)
    for path in paths:
        os.remove(path)
