//! The nodes: who is there, by the membership, and what they serve, by the scheduler.

use super::Actors;
use crate::control::{NodeLine, Ping};
use crate::problem::Problem;
use crate::text::{plain, shown};
use hyper::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use troop_actors::engine_process::protocol::Rest;
use troop_actors::ids::NodeId;
use troop_actors::membership::{Line, MembershipHandle, Path, State, is_near};
use troop_actors::questions::{Answer, Question, RemoteError};

impl Actors {
    /// All that are known: this one first, the others by name.
    pub(super) async fn list_nodes(&self) -> Result<Vec<NodeLine>, Problem> {
        let (lines, served, resting) = tokio::join!(self.lines(), self.served(), self.resting());
        let told = |line: &Line| NodeLine {
            models: served
                .get(&line.node)
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            rest: resting.get(&line.node).map(ToString::to_string),
            ..node_line(line)
        };
        let mut lines: Vec<NodeLine> = lines?.iter().map(told).collect();
        lines[1..].sort_by(|one, other| (&one.name, &one.node).cmp(&(&other.name, &other.node)));
        Ok(lines)
    }

    /// The coordinator, if that is another node and is known.
    pub(super) async fn find_coordinator(&self) -> Result<Option<NodeLine>, Problem> {
        if self.coordinator() {
            return Ok(None);
        }
        let lines = self.lines().await?;
        let coordinator = self.node.wiring.coordinator;
        let found = lines.iter().find(|line| line.node == coordinator);
        Ok(found.map(node_line))
    }

    /// Asks one node whether it is there.
    pub(super) async fn ping_node(&self, pick: &str) -> Result<Ping, Problem> {
        let line = picked(self.lines().await?, pick)?;
        let node = node_line(&line);
        let answered = |node, took: Duration| Ping {
            schema: "troop.ping.answer/v1".to_owned(),
            node,
            took_micros: took.as_micros() as u64,
        };
        if line.path == Some(Path::Own) {
            return Ok(answered(node, Duration::ZERO));
        }
        // What is measured is the world's time, not this node's.
        #[allow(clippy::disallowed_methods)]
        let asked = Instant::now();
        let answer = self.node.transport.ask(line.node, Question::Ping, PATIENCE);
        match answer.await {
            Ok(Answer::Pong) => Ok(answered(node, asked.elapsed())),
            Ok(_) => Err(unreachable(&node, "it answers another question")),
            Err(RemoteError::TimedOut { .. }) => Err(unreachable(&node, "no answer in time")),
            Err(error) => Err(unreachable(&node, &error.to_string())),
        }
    }

    async fn lines(&self) -> Result<Vec<Line>, Problem> {
        let lines = MembershipHandle::new(self.node.clone()).lines().await;
        lines.map_err(|_| Problem::unavailable("membership"))
    }

    /// Who takes no work, and why; nothing where nobody says so.
    async fn resting(&self) -> BTreeMap<NodeId, Rest> {
        let resting = tokio::time::timeout(CATALOG_PATIENCE, self.scheduler().resting()).await;
        match resting {
            Ok(Ok(resting)) => resting.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Who serves what; nothing where nobody says so.
    async fn served(&self) -> BTreeMap<NodeId, BTreeSet<String>> {
        let catalog = tokio::time::timeout(CATALOG_PATIENCE, self.scheduler().catalog()).await;
        let mut served: BTreeMap<NodeId, BTreeSet<String>> = BTreeMap::new();
        if let Ok(Ok(catalog)) = catalog {
            for (node, model) in catalog {
                served.entry(node).or_default().insert(plain(&model.name));
            }
        }
        served
    }
}

/// The one node that is called so, or whose id begins so.
fn picked(lines: Vec<Line>, pick: &str) -> Result<Line, Problem> {
    let called = |line: &&Line| line.card.name == pick;
    let named: Vec<&Line> = lines.iter().filter(called).collect();
    let begins = |line: &&Line| !pick.is_empty() && line.node.to_string().starts_with(pick);
    let found = match named.is_empty() {
        true => lines.iter().filter(begins).collect(),
        false => named,
    };
    match found[..] {
        [one] => Ok(one.clone()),
        [] => {
            let message = format!(
                "no node is called {} or has an id that begins so",
                shown(pick)
            );
            Err(Problem::new(StatusCode::NOT_FOUND, "node_not_found", message).about("node"))
        }
        _ => {
            let count = found.len();
            let message = format!(
                "{count} nodes are called {} or have ids that begin so",
                shown(pick)
            );
            Err(Problem::new(StatusCode::CONFLICT, "ambiguous", message).about("node"))
        }
    }
}

fn unreachable(line: &NodeLine, why: &str) -> Problem {
    let name = match line.name.is_empty() {
        true => line.node[..12].to_owned(),
        false => line.name.clone(),
    };
    let message = format!("{name} is not reached: {}", plain(why));
    Problem::new(StatusCode::BAD_GATEWAY, "node_unreachable", message)
}

/// What the membership knows of a node.
fn node_line(line: &Line) -> NodeLine {
    let (path, address, rtt_micros) = match line.path {
        None => (None, None, None),
        Some(Path::Own) => (Some("self"), None, None),
        Some(Path::Direct {
            address,
            rtt_micros,
        }) => {
            let word = if is_near(address) { "lan" } else { "direct" };
            (Some(word), Some(address.to_string()), Some(rtt_micros))
        }
    };
    NodeLine {
        name: line.card.name.clone(),
        node: line.node.to_string(),
        role: line.card.roles.to_string(),
        state: match line.state {
            State::Alive => "alive",
            State::Suspect => "suspect",
            State::Dead => "dead",
            State::Left | State::PutOut => "left",
        }
        .to_owned(),
        path: path.map(str::to_owned),
        address,
        rtt_micros,
        models: Vec::new(),
        rest: None,
        seen_ms: line.heard_ms,
    }
}

/// How long a node may take to answer a ping: one that is away is dialled first.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the coordinator may take to say who serves what: the list of nodes does not depend on it.
const CATALOG_PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use troop_actors::membership::Card;

    fn line(byte: u8, name: &str) -> Line {
        Line {
            node: NodeId([byte; 32]),
            card: Card {
                name: name.to_owned(),
                ..Card::default()
            },
            state: State::Alive,
            path: None,
            heard_ms: None,
        }
    }

    #[test]
    fn a_node_is_picked_by_its_name_or_by_the_beginning_of_its_id() {
        let lines = || vec![line(0xab, "ana"), line(0xac, "bo"), line(0xad, "bo")];
        let pick = |word: &str| picked(lines(), word).map(|line| line.node.0[0]);
        assert_eq!(pick("ana"), Ok(0xab));
        assert_eq!(pick("acac"), Ok(0xac));
        for (word, status) in [("bo", 409), ("a", 409), ("eve", 404), ("", 404)] {
            let refused = pick(word).expect_err(word);
            assert_eq!(refused.status.as_u16(), status, "{word}");
        }
    }

    #[test]
    fn a_path_is_near_or_far() {
        let far: std::net::SocketAddr = "93.184.216.34:9001".parse().expect("an address");
        for (address, word) in [(([192, 168, 1, 4], 9001).into(), "lan"), (far, "direct")] {
            let rtt_micros = 600;
            let path = Some(Path::Direct {
                address,
                rtt_micros,
            });
            let line = Line {
                path,
                ..line(1, "box")
            };
            let shown = node_line(&line);
            assert_eq!(shown.path.as_deref(), Some(word));
            assert_eq!(shown.rtt_micros, Some(600));
        }
    }
}
