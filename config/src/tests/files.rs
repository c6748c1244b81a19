//! Which files are read, in which order, and what happens to those that cannot be.

use super::*;

#[test]
fn without_any_file_the_defaults_hold() {
    assert_eq!(World::new().load().unwrap(), Settings::default());
}

#[test]
fn an_empty_file_is_fine() {
    let world = World::new();
    world.write("etc/utterd.toml", "");
    world.write("etc/utterd.toml.d/a.toml", "# nothing\n");
    assert_eq!(world.load().unwrap(), Settings::default());
}

#[test]
fn an_unknown_key_is_named_with_file_and_line_and_its_nearest_neighbour() {
    let world = World::new();
    world.write("etc/utterd.toml", "[jack]\nports = 2\nclient_name = \"x\"\n");
    assert_eq!(
        world.errors(),
        ["etc/utterd.toml:3: unknown key jack.client_name; did you mean jack.client-name?"]
    );
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let world = World::new();
    world.write("etc/utterd.toml", "[jack]\nports = 0\nfoo = 1\n[log]\nlevel = 3\n");
    world.write("run/utterd.toml.d/50.toml", "[timer]\nrate = 1\n");
    world.write("run/utterd.toml.d/60.toml", "[timer]\nrate = \nperiod-frames = = 3\n");
    let errors = world.errors();
    let places: Vec<_> = errors.iter().map(|error| error.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "etc/utterd.toml:2",
            "etc/utterd.toml:3",
            "etc/utterd.toml:5",
            "run/utterd.toml.d/50.toml:2",
            "run/utterd.toml.d/60.toml:2",
            "run/utterd.toml.d/60.toml:3"
        ],
        "{errors:#?}"
    );
}

#[test]
fn a_mistake_is_told_although_a_later_file_hides_it() {
    let world = World::new();
    world.write("etc/utterd.toml", "jack.ports = 0\n");
    world.write("etc/utterd.toml.d/a.toml", "jack.ports = 2\n");
    assert_eq!(
        world.errors(),
        ["etc/utterd.toml:1: jack.ports = 0 is not allowed; allowed: a whole number from 1 to 64"]
    );
}

#[test]
fn drop_ins_apply_by_name_and_later_folders_replace_earlier_ones() {
    let world = World::new();
    world.write(
        "etc/utterd.toml",
        "limits.sessions = 1\nlimits.utterances = 1\njack.ports = 1\ncancel.fade-ms = 1\n",
    );
    world.write("lib/utterd.toml.d/90-z.toml", "limits.sessions = 90\n");
    world.write("etc/utterd.toml.d/50-m.toml", "limits.sessions = 50\nlimits.utterances = 50\n");
    world.write(
        "run/utterd.toml.d/10-a.toml",
        "limits.sessions = 10\nlimits.utterances = 10\njack.ports = 10\n",
    );
    // The same name in /usr/lib and /run: the one in /run replaces the whole file.
    world.write("lib/utterd.toml.d/50-x.toml", "cancel.fade-ms = 50\n");
    world.write("run/utterd.toml.d/50-x.toml", "");
    let settings = world.load().unwrap();
    assert_eq!(settings.limits.sessions, 90);
    assert_eq!(settings.limits.utterances, 50);
    assert_eq!(settings.jack.ports, 10);
    assert_eq!(settings.cancel.fade_ms, 1);
}

#[test]
fn a_link_to_dev_null_switches_a_drop_in_off() {
    let world = World::new();
    world.write("lib/utterd.toml.d/a.toml", "jack.ports = 9\n");
    fs::create_dir_all(world.root.path().join("etc/utterd.toml.d")).unwrap();
    std::os::unix::fs::symlink("/dev/null", world.root.path().join("etc/utterd.toml.d/a.toml")).unwrap();
    assert_eq!(world.load().unwrap(), Settings::default());
}

#[test]
fn other_files_beside_drop_ins_are_left_alone() {
    let world = World::new();
    for name in [".a.toml", "a.toml~", "a.toml.dpkg-old", "README"] {
        world.write(&format!("etc/utterd.toml.d/{name}"), "rubbish");
    }
    assert_eq!(world.load().unwrap(), Settings::default());
}

#[test]
fn the_users_files_come_last_and_only_for_a_user() {
    let mut world = World::new();
    world.write("run/utterd.toml.d/z.toml", "jack.ports = 3\ntimer.rate = 16000\n");
    world.write("home/utterd.toml", "jack.ports = 4\n");
    world.write("home/utterd.toml.d/a.toml", "timer.rate = 8000\n");
    assert_eq!(world.load().unwrap().jack.ports, 3);
    world.source.scope = Scope::User;
    let settings = world.load().unwrap();
    assert_eq!((settings.jack.ports, settings.timer.rate), (4, 8000));
    assert_eq!(settings.plugins.dirs[0], world.root.path().join("home/plugins"));
    assert_eq!(settings.plugins.dirs[1..], Settings::default().plugins.dirs);
    assert_eq!(settings.sounds.dirs[0], world.root.path().join("home/sounds"));
    assert_eq!(settings.sounds.dirs[1..], Settings::default().sounds.dirs);
}

#[test]
fn tables_grow_together_and_lists_are_replaced() {
    let world = World::new();
    world.write(
        "etc/utterd.toml",
        "[plugin.x]\na = 1\nlist = [1, 2]\n[plugin.x.deep]\na = 1\n[plugins]\ndisabled = [\"a\", \"b\"]\n",
    );
    world.write(
        "etc/utterd.toml.d/a.toml",
        "[plugin.x]\nb = 2\nlist = [3]\n[plugin.x.deep]\nb = 2\n[plugins]\ndisabled = [\"c\"]\n",
    );
    let settings = world.load().unwrap();
    assert_eq!(
        settings.plugin["x"],
        serde_json::json!({"a": 1, "b": 2, "list": [3], "deep": {"a": 1, "b": 2}})
    );
    assert_eq!(settings.plugins.disabled, ["c"]);
    let place = |key: &str| settings.plugin_places["x"][key].clone();
    assert!(place("a").ends_with("etc/utterd.toml:2"), "{}", place("a"));
    assert!(place("list").ends_with("etc/utterd.toml.d/a.toml:3"), "{}", place("list"));
}

#[test]
fn a_named_file_replaces_all_others_and_brings_its_own_drop_ins() {
    let mut world = World::new();
    world.write("etc/utterd.toml", "jack.ports = 3\n");
    world.write("etc/utterd.toml.d/a.toml", "timer.rate = 8000\n");
    let named = world.write("mine.toml", "limits.sessions = 5\n");
    let drop_in = world.write("mine.toml.d/a.toml", "limits.utterances = 6\n");
    world.source = world.source.with_file(&named);
    let settings = world.load().unwrap();
    let expected = Settings {
        limits: Limits {
            sessions: 5,
            utterances: 6,
            ..Limits::default()
        },
        ..Settings::default()
    };
    assert_eq!(settings, expected);
    assert_eq!(files(&world.source).unwrap(), [named, drop_in]);
}

#[test]
fn a_named_file_must_exist() {
    let mut world = World::new();
    world.source = world.source.clone().with_file(world.root.path().join("nowhere.toml"));
    assert_eq!(
        world.errors(),
        ["nowhere.toml: cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_not_an_absent_one() {
    let world = World::new();
    fs::create_dir_all(world.root.path().join("etc")).unwrap();
    // A link to itself: not even root can read it, so this test means the same for every user.
    std::os::unix::fs::symlink("utterd.toml", world.root.path().join("etc/utterd.toml")).unwrap();
    let errors = world.errors();
    assert!(
        errors.len() == 1 && errors[0].starts_with("etc/utterd.toml: cannot be read: "),
        "{errors:?}"
    );
}

#[test]
fn a_directory_a_pipe_and_a_disk_image_are_refused_without_hanging() {
    let world = World::new();
    fs::create_dir_all(world.root.path().join("etc/utterd.toml")).unwrap();
    fs::create_dir_all(world.root.path().join("etc/utterd.toml.d")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(world.root.path().join("etc/utterd.toml.d/socket.toml")).unwrap();
    world.write("etc/utterd.toml.d/z.toml", vec![b'#'; (1 << 20) + 1]);
    let reason = "the configuration must be a regular file";
    assert_eq!(
        world.errors(),
        [
            format!("etc/utterd.toml: is a directory; {reason}"),
            format!("etc/utterd.toml.d/socket.toml: is a device, a pipe or a socket; {reason}"),
            "etc/utterd.toml.d/z.toml: is larger than 1 MiB, which is no configuration".to_owned(),
        ]
    );
    drop(listener);
}

#[test]
fn broken_utf8_is_named_with_its_line() {
    let world = World::new();
    world.write("etc/utterd.toml", b"[jack]\nclient-name = \"\xff\"\n");
    assert_eq!(world.errors(), ["etc/utterd.toml:2: is not UTF-8 here; save the file as UTF-8"]);
}
