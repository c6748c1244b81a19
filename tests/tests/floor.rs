//! Who is heard on the loudspeaker: sessions on the shared floor one at a time (SEMANTICS "Floor", invariant I15), judged by the ear.
#![allow(clippy::unwrap_used)]

use utterd_tests::client::{Client, Session};
use utterd_tests::opts;
use utterd_tests::tone::{self, Run};
use utterd_tests::world::{TONE, World};

const CHARACTER: usize = 2_400;

/// Two shells: each with a connection and a session of its own.
fn two_shells(world: &World) -> [Session; 2] {
    ["shell-1", "shell-2"].map(|id| {
        let client = Client::connect(world.bus.address());
        client
            .open(id, opts! { "backend" => TONE, "voice" => "tone-id", "lifetime" => "client" })
            .unwrap()
    })
}

/// Both say three sentences at the same time; ids and lengths per shell.
fn both_talk(shells: &[Session; 2]) -> [Vec<(u64, usize)>; 2] {
    let talk = |shell: &Session| -> Vec<(u64, usize)> {
        let sentences = ["the first sentence", "and the second one", "then the last"];
        sentences.iter().map(|s| (shell.say(s, opts! {}), s.len() * CHARACTER)).collect()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| talk(&shells[1]));
        let one = talk(&shells[0]);
        [one, other.join().unwrap()]
    })
}

fn run_of(runs: &[Run], utterance: u64) -> &Run {
    let mut own = runs.iter().filter(|r| r.voice == tone::voice(utterance));
    let run = own
        .next()
        .unwrap_or_else(|| panic!("utterance {utterance} was not heard: {runs:?}"));
    assert_eq!(own.next(), None, "utterance {utterance} was heard in pieces");
    run
}

/// The order in which the two were heard, as "AAABBB".
fn order(runs: &[Run], said: &[Vec<(u64, usize)>; 2]) -> String {
    let whose = |run: &Run| {
        if said[0].iter().any(|(id, _)| tone::voice(*id) == run.voice) {
            'A'
        } else {
            'B'
        }
    };
    runs.iter().map(whose).collect()
}

#[test]
fn two_shells_that_talk_at_once_are_heard_one_after_the_other() {
    let world = World::start();
    let shells = two_shells(&world);
    let said = both_talk(&shells);
    for (shell, said) in shells.iter().zip(&said) {
        for (id, _) in said {
            assert_eq!(shell.wait(*id).0, "completed");
        }
    }
    let heard = world.heard();
    let runs = tone::runs(&heard);
    assert!(
        tone::mixed(&heard, 0).is_empty(),
        "two voices at once: {:?}",
        tone::mixed(&heard, 0)
    );
    for (id, length) in said.iter().flatten() {
        assert_eq!((run_of(&runs, *id).first, run_of(&runs, *id).heard.len()), (0, *length));
    }
    let order = order(&runs, &said);
    assert!(
        order == "AAABBB" || order == "BBBAAA" || said_late(&order),
        "by whole answers, not by sentences: {order}"
    );
}

/// A shell whose first sentence was over before its second one came has given the floor away in between: still no overlap.
fn said_late(order: &str) -> bool {
    order.len() == 6 && order.matches("AB").count() + order.matches("BA").count() <= 2
}

#[test]
fn cancelling_one_shell_leaves_the_samples_of_the_other_bit_equal() {
    for cancelled in 0..2 {
        let world = World::start();
        let shells = two_shells(&world);
        let said = both_talk(&shells);
        let kept = 1 - cancelled;
        world.client.expect_event("any start", |e| e.member == "UtteranceStarted");
        world.for_ms(350);
        shells[cancelled].cancel(opts! {});
        for (id, _) in &said[kept] {
            assert_eq!(shells[kept].wait(*id).0, "completed");
        }
        let heard = world.heard();
        let runs = tone::runs(&heard);
        for (id, length) in &said[kept] {
            let run = run_of(&runs, *id);
            assert_eq!(
                (run.first, run.heard.len()),
                (0, *length),
                "bit-equal from the first sample to the last"
            );
        }
        assert!(
            tone::mixed(&heard, 240).is_empty(),
            "but for the ramp of the cut, no sample is anybody's but its own"
        );
    }
}

#[test]
fn a_session_with_a_floor_of_its_own_is_mixed_in() {
    let world = World::start();
    let shared = world.tone_session("shared");
    let own = world
        .client
        .open("own", opts! { "backend" => TONE, "voice" => "tone-id", "floor" => "own" })
        .unwrap();
    let first = shared.say("a long sentence underneath", opts! {});
    world.client.expect_started(first);
    let second = own.say("alarm", opts! {});
    assert_eq!(
        (own.wait(second).0.as_str(), shared.wait(first).0.as_str()),
        ("completed", "completed")
    );
    let heard = world.heard();
    let mixed = tone::mixed(&heard, 0);
    assert_eq!(mixed.len(), 1, "{mixed:?}");
    assert_eq!(mixed[0].len(), 5 * CHARACTER);
    let before = tone::runs(&heard)[0].clone();
    assert_eq!(before.heard.end, mixed[0].start);
    for n in 0..mixed[0].len() {
        let sum = tone::encode(first, u64::from(before.last) + 1 + n as u64) + tone::encode(second, n as u64);
        assert_eq!(heard.samples[mixed[0].start + n], sum, "the sum of both, sample {n}");
    }
}

#[test]
fn what_is_important_is_heard_at_once_and_the_other_goes_on_from_its_sample() {
    let world = World::start();
    let shells = two_shells(&world);
    let text = "a message that will be interrupted";
    let message = shells[0].say(text, opts! {});
    world.client.expect_started(message);
    world.for_ms(300);
    let important = shells[1].say("fire", opts! { "priority" => "important" });
    assert_eq!(shells[1].wait(important).0, "completed");
    assert_eq!(shells[0].wait(message).0, "completed");
    let heard = world.heard();
    let runs = tone::runs(&heard);
    let own: Vec<&Run> = runs.iter().filter(|r| r.voice == tone::voice(message)).collect();
    let alarm = run_of(&runs, important);
    assert_eq!(alarm.heard.len(), 4 * CHARACTER);
    assert_eq!(own.len(), 2, "{runs:?}");
    assert!(
        own[0].heard.end <= alarm.heard.start && alarm.heard.end <= own[1].heard.start,
        "{runs:?}"
    );
    assert_eq!(
        own.iter().map(|r| r.heard.len()).sum::<usize>() + 240,
        text.len() * CHARACTER,
        "all of it, the ramp's samples included"
    );
    assert_eq!(own[1].first, own[0].last + 1 + 240);
}
