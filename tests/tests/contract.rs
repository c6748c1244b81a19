//! The promised interface is what is served: the live daemon's introspection, member by member, against the contract's copy in
//! `systemd/dbus`. Comments of the contract are for people; everything that a machine reads is compared.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use utterd_tests::bins;
use utterd_tests::client::ROOT;
use utterd_tests::world::Quiet;

/// One member as a line of text, so that a difference reads well: `method Say(in s text, in a{sv} options, out t utterance)`.
type Interface = BTreeSet<String>;

fn interfaces(xml: &str) -> BTreeMap<String, Interface> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    let document = roxmltree::Document::parse_with_options(xml, options).unwrap_or_else(|e| panic!("{e} in\n{xml}"));
    let interfaces = document.root_element().children().filter(|n| n.has_tag_name("interface"));
    interfaces.map(|i| (i.attribute("name").unwrap().to_owned(), members(i))).collect()
}

fn members(interface: roxmltree::Node<'_, '_>) -> Interface {
    interface.children().filter(|n| n.is_element()).map(member).collect()
}

fn member(node: roxmltree::Node<'_, '_>) -> String {
    let kind = node.tag_name().name();
    let name = node.attribute("name").unwrap_or_default();
    let args: Vec<String> = node
        .children()
        .filter(|n| n.has_tag_name("arg"))
        .map(|arg| {
            let direction = arg.attribute("direction").unwrap_or(if kind == "signal" { "out" } else { "in" });
            format!(
                "{direction} {} {}",
                arg.attribute("type").unwrap(),
                arg.attribute("name").unwrap_or("(no name)")
            )
        })
        .collect();
    let mut annotations: BTreeMap<&str, &str> = node
        .children()
        .filter(|n| n.has_tag_name("annotation"))
        .map(|a| (a.attribute("name").unwrap(), a.attribute("value").unwrap_or_default()))
        .collect();
    if kind == "property" {
        // The D-Bus specification: without the annotation it is "true".
        annotations
            .entry("org.freedesktop.DBus.Property.EmitsChangedSignal")
            .or_insert("true");
        return format!(
            "property {name} {} {} {annotations:?}",
            node.attribute("type").unwrap(),
            node.attribute("access").unwrap()
        );
    }
    format!("{kind} {name}({}) {annotations:?}", args.join(", "))
}

fn contract(file: &str) -> BTreeMap<String, Interface> {
    let path = bins::workspace().join("systemd/dbus").join(file);
    interfaces(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

fn compare(served: &BTreeMap<String, Interface>, promised: &BTreeMap<String, Interface>) {
    let mut wrong = String::new();
    for (name, promised) in promised {
        let Some(served) = served.get(name) else {
            wrong += &format!("{name} is not served at all\n");
            continue;
        };
        for line in promised.difference(served) {
            wrong += &format!("{name}: promised, not served: {line}\n");
        }
        for line in served.difference(promised) {
            wrong += &format!("{name}: served, not promised: {line}\n");
        }
    }
    assert!(wrong.is_empty(), "the daemon does not serve its contract:\n{wrong}");
}

#[test]
fn the_root_object_serves_the_promised_interfaces() {
    let quiet = Quiet::start();
    let served = interfaces(&quiet.client.introspect(ROOT));
    compare(&served, &contract("org.utterd.Utterd1.xml"));
    for standard in ["ObjectManager", "Properties", "Introspectable", "Peer"] {
        assert!(
            served.contains_key(&format!("org.freedesktop.DBus.{standard}")),
            "{standard} is missing: {:?}",
            served.keys()
        );
    }
}

#[test]
fn a_session_object_serves_the_promised_interface() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("contract");
    let served = interfaces(&quiet.client.introspect(&session.path));
    compare(&served, &contract("org.utterd.Utterd1.Session.xml"));
}

#[test]
fn the_path_of_a_session_is_its_id_as_systemd_escapes_it() {
    let quiet = Quiet::start();
    for (id, escaped) in [("plain", "plain"), ("a.b-c:d", "a_2eb_2dc_3ad"), ("7up", "_37up"), ("A_z", "A_5fz")] {
        let session = quiet.tone_session(id);
        assert_eq!(session.path, format!("{ROOT}/session/{escaped}"));
        assert_eq!(session.text("Id"), id);
    }
}

#[test]
fn all_properties_can_be_read_at_once_and_hold_their_promised_types() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("contract");
    let promised = [
        ("org.utterd.Utterd1.xml", ROOT),
        ("org.utterd.Utterd1.Session.xml", session.path.as_str()),
    ];
    for (file, path) in promised {
        for (interface, members) in contract(file) {
            let all = quiet
                .client
                .call(path, "org.freedesktop.DBus.Properties", "GetAll", &(interface.as_str(),))
                .unwrap();
            let all = utterd_tests::client::Dict::from(&all.value[0]);
            for line in members.iter().filter(|m| m.starts_with("property ")) {
                let mut words = line.split(' ').skip(1);
                let (name, kind) = (words.next().unwrap(), words.next().unwrap());
                let value = all.value(name);
                assert_eq!(value.value_signature().to_string(), kind, "{interface}.{name}");
            }
        }
    }
}
