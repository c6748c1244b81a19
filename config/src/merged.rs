//! All files laid over each other: tables grow together key by key, anything else (lists too) is replaced by the later file.

use crate::fragment::{Fragment, Node, Value};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) struct Merged {
    pub(crate) root: Node,
}

impl Merged {
    /// The last fragment wins.
    pub(crate) fn of(fragments: Vec<Fragment>) -> Merged {
        let nothing = Node {
            file: Path::new("").into(),
            line: 1,
            value: Value::Table(BTreeMap::new()),
        };
        let mut root = nothing;
        for fragment in fragments {
            lay_over(&mut root, fragment.root);
        }
        Merged { root }
    }
}

fn lay_over(below: &mut Node, above: Node) {
    match (&mut below.value, above.value) {
        (Value::Table(below), Value::Table(above)) => {
            for (key, node) in above {
                match below.get_mut(&key) {
                    Some(existing) => lay_over(existing, node),
                    None => {
                        below.insert(key, node);
                    }
                }
            }
        }
        (_, value) => *below = Node { value, ..above },
    }
}
