//! What happens to a node besides questions: keys, invitations, other machines, its battery.

use super::{AHEAD, World, outcome, power};
use crate::support::{Folder, Node, until};
use serde_json::Value;

impl World {
    /// Another machine joins and stays, or is put out, until the fault is met.
    pub(super) fn join(&self, out: bool) -> String {
        let made = self.folder.json(&["invite", "--role", "client"]);
        let token = made["token"].as_str().expect("a token");
        let folder = Folder::empty();
        // By another clock it would take the certificate for one of tomorrow.
        let _guest = Node::start_as(&folder, &["--join", token], &[(AHEAD, self.ahead)]);
        if out {
            let members = self.folder.json(&["member", "list"]);
            let members = members["members"].as_array().expect("members");
            let last = members.last().expect("somebody joined");
            let node = last["node"].as_str().expect("an id");
            self.folder.json(&["member", "remove", node]);
        }
        until("the fault is met", || self.met().then_some(()));
        "nothing".to_owned()
    }

    pub(super) fn keys(&self) -> String {
        let made = self
            .folder
            .troop(&["key", "create", "--member", "cy", "--json"]);
        let answer: Value = serde_json::from_slice(&made.stdout).unwrap_or_default();
        let seen = format!("create: {}", outcome(made.status.success(), &answer));
        let Some(prefix) = answer["prefix"].as_str() else {
            return seen;
        };
        let revoked = self.folder.troop(&["key", "revoke", prefix, "--json"]);
        let answer: Value = serde_json::from_slice(&revoked.stdout).unwrap_or_default();
        let word = outcome(revoked.status.success(), &answer);
        format!("{seen}; revoke: {word}")
    }

    pub(super) fn invites(&self) -> String {
        let words = ["invite", "--address", "192.0.2.1:9001", "--json"];
        let made = self.folder.troop(&words);
        let answer: Value = serde_json::from_slice(&made.stdout).unwrap_or_default();
        let seen = format!("invite: {}", outcome(made.status.success(), &answer));
        let Some(id) = answer["id"].as_str() else {
            return seen;
        };
        let revoked = self.folder.troop(&["invite", "revoke", id, "--json"]);
        let answer: Value = serde_json::from_slice(&revoked.stdout).unwrap_or_default();
        let word = outcome(revoked.status.success(), &answer);
        format!("{seen}; revoke: {word}")
    }

    /// The machine runs on its battery until it rests, and then on the mains again.
    pub(super) fn unplug(&self) -> String {
        let rests = |wanted: bool| {
            let said = self.folder.troop(&["status", "--json"]);
            let said: Value = serde_json::from_slice(&said.stdout).ok()?;
            ((said["worker"]["state"] == "resting") == wanted).then_some(said)
        };
        power(&self.folder.0, "Discharging");
        let said = until("it rests", || rests(true));
        assert_eq!(said["worker"]["reason"], "on battery", "{said}");
        power(&self.folder.0, "Charging");
        until("it serves again", || rests(false));
        "a machine that rested on its battery".to_owned()
    }
}
