//! Introspection: the contract's own files, word for word, beside the standard interfaces.

use super::path::{ROOT, encode};

const ROOT_XML: &str = include_str!("../../../systemd/dbus/org.utterd.Utterd1.xml");
const SESSION_XML: &str = include_str!("../../../systemd/dbus/org.utterd.Utterd1.Session.xml");

const DOCTYPE: &str = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n";

const STANDARD: &str = r#"
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect"><arg name="xml_data" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId"><arg name="machine_uuid" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get"><arg name="interface_name" type="s" direction="in"/><arg name="property_name" type="s" direction="in"/><arg name="value" type="v" direction="out"/></method>
    <method name="Set"><arg name="interface_name" type="s" direction="in"/><arg name="property_name" type="s" direction="in"/><arg name="value" type="v" direction="in"/></method>
    <method name="GetAll"><arg name="interface_name" type="s" direction="in"/><arg name="props" type="a{sv}" direction="out"/></method>
    <signal name="PropertiesChanged"><arg name="interface_name" type="s"/><arg name="changed_properties" type="a{sv}"/><arg name="invalidated_properties" type="as"/></signal>
  </interface>
"#;

const OBJECT_MANAGER: &str = r#"
  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects"><arg name="objects" type="a{oa{sa{sv}}}" direction="out"/></method>
    <signal name="InterfacesAdded"><arg name="object_path" type="o"/><arg name="interfaces_and_properties" type="a{sa{sv}}"/></signal>
    <signal name="InterfacesRemoved"><arg name="object_path" type="o"/><arg name="interfaces" type="as"/></signal>
  </interface>
"#;

/// The root object.
pub(super) fn root() -> String {
    let last = ROOT.rsplit('/').next().unwrap_or_default();
    debug_assert_eq!(last, "Utterd1");
    format!(
        "{DOCTYPE}<node>{}{STANDARD}{OBJECT_MANAGER}  <node name=\"session\"/>\n</node>\n",
        interfaces(ROOT_XML)
    )
}

/// A session.
pub(super) fn session() -> String {
    format!("{DOCTYPE}<node>{}{STANDARD}</node>\n", interfaces(SESSION_XML))
}

/// The parent of all sessions.
pub(super) fn sessions<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let nodes: String = ids.map(|id| format!("  <node name=\"{}\"/>\n", encode(id))).collect();
    format!("{DOCTYPE}<node>{STANDARD}{nodes}</node>\n")
}

/// A node on the way to the root.
pub(super) fn ancestor(child: &str) -> String {
    format!("{DOCTYPE}<node>{STANDARD}  <node name=\"{child}\"/>\n</node>\n")
}

/// What stands between `<node …>` and `</node>`, without the comments that explain the contract to people.
fn interfaces(xml: &str) -> String {
    let mut out = String::with_capacity(xml.len());
    let mut rest = xml;
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    let start = out.find("<interface").unwrap_or(0);
    let end = out.rfind("</node>").unwrap_or(out.len());
    let lines = out[start..end].lines().map(str::trim_end).filter(|l| !l.is_empty());
    format!("\n  {}\n", lines.collect::<Vec<_>>().join("\n"))
}
