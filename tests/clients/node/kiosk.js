#!/usr/bin/env node
// A kiosk: greets a visitor, tells how far it has got, and is silent at once when the screen is touched.
// Exit 0: all went as it should; 1: something is wrong, and it says what.
const assert = require('node:assert');
const dbus = require('dbus-next');
const { Variant } = dbus;

const NAME = 'org.utterd.Utterd1';
const bus = dbus.sessionBus(); // DBUS_SESSION_BUS_ADDRESS
const proxy = async (path, name) => (await bus.getProxyObject(NAME, path)).getInterface(`${NAME}.${name}`);

async function main() {
  const manager = await proxy('/org/utterd/Utterd1', 'Manager');
  // lifetime "client": when the kiosk's browser is restarted, nothing goes on talking.
  const path = await manager.OpenSession(`kiosk-${process.pid}`, { lifetime: new Variant('s', 'client') });
  const session = await proxy(path, 'Session');

  // Listen before speaking, and tell utterances apart by tag: a signal may be handled before the reply of Say is seen.
  const begun = {};
  session.on('UtteranceStarted', (utterance, info) => {
    console.log(`speaking: ${info.tag.value}`);
    begun[info.tag.value]?.();
  });
  const subtitles = []; // The words as they are heard. Ids and times are BigInt here, offsets in the text plain numbers.
  session.on('UtteranceProgress', (utterance, kind, start, end, played, details) => {
    if (kind === 'word') subtitles.push(details.text?.value);
  });
  const say = (text, tag) => session.Say(text, { tag: new Variant('s', tag), progress: new Variant('s', 'word') });

  // Two sentences in a row: the second waits for the first. Wait returns when it was heard, at once if it already was.
  const welcome = await say('Welcome to the museum.', 'welcome');
  const hint = await say('Touch the screen to choose a tour.', 'hint');
  for (const utterance of [welcome, hint]) {
    const [outcome, report] = await session.Wait(utterance, {});
    console.log(`${outcome}: ${report['heard-text'].value}`);
    assert.equal(outcome, 'completed');
  }

  // A long text, and a finger on the screen once it speaks.
  const audible = new Promise((resolve) => { begun.tour = resolve; });
  const tour = await say('This hall was built in four hundred years, and its story begins with a fire, a king and a long winter.', 'tour');
  await audible;
  await new Promise((resolve) => setTimeout(resolve, 700)); // The visitor listens a little.
  const report = await session.Cancel({ utterance: new Variant('t', tour) });
  console.log(`${report.result.value} after: ${report['heard-text'].value}`);
  console.log(`subtitles shown: ${subtitles.length} words`);
  assert.equal(report.result.value, 'cancelled');

  // Touching twice is normal: the second cancel is a success that did nothing.
  const again = await session.Cancel({ utterance: new Variant('t', tour) });
  assert.equal(again.result.value, 'already');
}

const late = setTimeout(() => { console.error('kiosk: no end within 60 s'); process.exit(1); }, 60_000);
main()
  .then(() => { clearTimeout(late); bus.disconnect(); })
  .catch((error) => { console.error(`kiosk: ${error.message ?? error}`); process.exit(1); });
