//! Every message of every actor, with what makes it come.

use troop_actors::{
    admissions, doorkeeper, engine_process, gpu_monitor, keyring, ledger, membership, outbox,
    scheduler, session, ticket_issuer,
};

/// What a client does so that the message is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scene {
    /// Asks, as a guest, and waits for the whole answer.
    Ask,
    /// Asks with a key whose member has no credits.
    AskPoor,
    /// Hangs up in the middle of a stream.
    HangUp,
    /// Loses the engine in the middle of a stream.
    KillEngine,
    /// Asks while other requests have all the engine's places.
    Crowd,
    /// Makes a key and revokes it.
    Keys,
    /// Makes an invitation and takes it back.
    Invites,
    /// Runs a verb.
    Verb(&'static [&'static str]),
    /// Looks at a page.
    Get(&'static str),
    /// Has a model loaded.
    Load,
    /// Has the machine taken back, and given again.
    Pause,
    /// Pulls the machine's plug, and puts it back.
    Unplug,
    /// Lets another machine join, which stays until the fault is met.
    Join,
    /// Lets another machine join, and puts it out.
    PutOut,
    /// Waits until a timer rings.
    Wait,
    /// Asks the node to stop in the middle of a stream, and starts it again.
    Stop,
    /// Asks the node to stop in the middle of a stream that does not end in time, and starts it again.
    StopLate,
    /// Asks, and has the node stopped before the answer begins; then starts it again.
    StopAsked,
    /// Stops the node and starts it with the fault waiting for it.
    Start,
    /// Leaves a hold behind, and starts the node after the hold's term.
    LaterStart,
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    actor: &'static str,
    message: &'static str,
    /// The how manieth of its kind it is.
    count: u64,
    pub(crate) scene: Scene,
    /// Faults that make it come.
    with: &'static [&'static str],
}

impl Case {
    /// The case as it is listed.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}:{}", self.actor, self.message, self.count)
    }

    /// The faults to be planted, one a line.
    pub(crate) fn faults(&self) -> String {
        let mut lines = self.with.join("\n");
        if !lines.is_empty() {
            lines.push('\n');
        }
        if self.actor != "engine" {
            lines.push_str(&self.name());
        }
        lines
    }

    /// The case in which a request's hold is left to its term, and no worker has anything to claim.
    pub(crate) fn hold_left_behind() -> Case {
        let (actor, message, count) = ("session", "Granted", 1);
        let (scene, with) = (Scene::Ask, &[][..]);
        Case {
            actor,
            message,
            count,
            scene,
            with,
        }
    }

    /// Whether nobody's silence has to be noticed.
    pub(crate) fn is_short(&self) -> bool {
        !matches!(self.actor, "doorkeeper" | "engine_process") && self.scene != Scene::LaterStart
    }
}

const fn at(count: u64, scene: Scene) -> (u64, Scene, &'static [&'static str]) {
    (count, scene, &[])
}

const fn with(
    with: &'static [&'static str],
    scene: Scene,
) -> (u64, Scene, &'static [&'static str]) {
    (1, scene, with)
}

/// An exhaustive match over the messages of each actor, and a case for each arm. An arm without a case says
/// whose cases are its own.
macro_rules! actors {
    ($($actor:literal: $messages:ty {
        $($message:ident => $([$($case:expr),+])? $(as $same:literal)?;)+
    })+) => {
        pub(crate) fn all() -> Vec<Case> {
            let mut cases = Vec::new();
            $({
                type Messages = $messages;
                const _: fn(&Messages) = |message| match message {
                    $(Messages::$message { .. } => {})+
                };
                $($(for (count, scene, with) in [$($case),+] {
                    let (actor, message) = ($actor, stringify!($message));
                    cases.push(Case { actor, message, count, scene, with });
                })?)+
            })+
            cases.push(Case {
                actor: "engine",
                message: "killed",
                count: 1,
                scene: Scene::KillEngine,
                with: &[],
            });
            cases
        }
    };
}

use Scene::*;

actors! {
    "session": session::SessionMessage {
        Input => as "its inputs, below";
        Wake => [with(&["ledger:Hold:1:session:Wake"], Ask)];
    }
    "session": session::protocol::Input {
        Begin => [at(1, Ask)];
        Queued => [at(1, Crowd)];
        Granted => [at(1, Ask)];
        Refused => [at(1, AskPoor)];
        Turned => [with(&["session:Granted:1:engine_process:Drain"], StopAsked)];
        Event => [at(1, Ask), at(4, Ask)];
        Closed => [at(1, Ask)];
        Lost => [at(1, KillEngine)];
        Broken => as "Lost; a node alone has no streams that could break";
        Posted => [at(1, Ask)];
        HangUp => [at(1, HangUp)];
    }
    "scheduler": scheduler::SchedulerMessage {
        Input => as "its inputs, below";
        Wake => [at(1, Wait)];
        Catalog => [at(1, Get("/v1/models"))];
        Resting => [at(1, Verb(&["nodes"]))];
        Stats => [at(1, Verb(&["status"]))];
        Explain => [at(1, Verb(&["explain", "00000000000000000000000000000000"]))];
    }
    "scheduler": scheduler::protocol::Input {
        Admit => [at(1, Ask)];
        Held => [at(1, Ask)];
        NotHeld => [at(1, AskPoor)];
        Finished => [at(1, Ask)];
        Report => [at(1, Ask), at(2, Ask)];
        Absent => [at(1, Join)];
    }
    "ledger": ledger::LedgerMessage {
        Input => as "its inputs, below";
        Wake => [at(1, LaterStart)];
        Grant => as "the input of that name";
        Account => [at(1, Verb(&["balance"]))];
        Accounts => [at(1, Verb(&["balance", "--all"]))];
        OpenHolds => [at(1, Get("/readyz"))];
        Ending => as "Account, which reads the same";
        Verify => [at(1, Verb(&["ledger", "verify"]))];
    }
    "ledger": ledger::protocol::Input {
        Grant => [at(1, Keys), at(1, Start)];
        Hold => [at(1, Ask)];
        Settle => [at(1, Ask)];
        Claim => as "Settle; who claims has a client that did not sign, and here all do";
        Persisted => [at(1, Ask), at(2, Ask)];
        PersistFailed => [with(&["ledger-store:Write:1"], Ask)];
    }
    "ticket_issuer": ticket_issuer::TicketIssuerMessage {
        Input => as "its inputs, below";
        Wake => as "Rotate; by itself it rings every thirty days";
        Rotate => as "the input of that name";
    }
    "ticket_issuer": ticket_issuer::protocol::Input {
        Issue => [at(1, Ask)];
        Tell => [at(1, Wait)];
        Revoke => as "Issue, at whose start it is said as well";
        Rotate => [at(1, Verb(&["rotate", "--revoke"]))];
        Persisted => [at(1, Verb(&["rotate", "--revoke"]))];
        PersistFailed => [with(&["ticket_issuer-store:Write:1"], Verb(&["rotate", "--revoke"]))];
    }
    "doorkeeper": doorkeeper::DoorkeeperMessage {
        Input => as "its inputs, below";
        Wake => [at(1, Wait)];
    }
    "doorkeeper": doorkeeper::protocol::Input {
        Knock => [at(1, Ask)];
        Told => [at(1, Wait)];
    }
    "engine_process": engine_process::EngineProcessMessage {
        Input => as "its inputs, below";
        Wake => [at(1, Wait)];
        Told => as "the input that it carries";
        Heard => as "the input Frame";
        Status => [at(1, Verb(&["ps"]))];
    }
    "engine_process": engine_process::protocol::Input {
        Serve => [at(1, Load)];
        Start => [at(1, Ask)];
        Cancel => [at(1, HangUp)];
        Vouch => [at(1, Ask)];
        Paid => [at(1, Ask)];
        Kept => as "Paid, which has the keeper forget the same";
        Frame => [at(1, Ask), at(4, Ask)];
        Exited => [at(1, KillEngine)];
        Drain => [at(1, Stop)];
        Pause => [at(1, Pause)];
        Resume => [at(1, Pause)];
        Machine => [at(1, Unplug)];
        Revoke => as "Cancel, which ends an attempt alike; a node alone puts nobody out";
    }
    "gpu_monitor": gpu_monitor::GpuMonitorMessage {
        Input => as "its inputs, below";
        Wake => [at(1, Wait)];
    }
    "gpu_monitor": gpu_monitor::protocol::Input {
        Seen => [at(1, Unplug)];
    }
    "outbox": outbox::OutboxMessage {
        Input => as "its inputs, below";
        Wake => [with(&["ledger:Settle:1"], Ask)];
        Pending => [at(1, Get("/readyz"))];
    }
    "outbox": outbox::protocol::Input {
        Post => [at(1, Ask)];
        Persisted => [at(1, Ask)];
        PersistFailed => [with(&["outbox-store:Write:1"], Ask)];
        Answered => [at(1, Ask)];
    }
    "keyring": keyring::KeyringMessage {
        Input => as "its inputs, below";
        Add => as "the input of that name";
        Remove => as "the input of that name";
        List => [at(1, Verb(&["key", "list"]))];
        Who => [at(1, Ask)];
    }
    "keyring": keyring::protocol::Input {
        Add => [at(1, Keys)];
        Remove => [at(1, Keys)];
        Persisted => [at(1, Keys)];
        PersistFailed => [with(&["keyring-store:Write:1"], Keys)];
    }
    "admissions": admissions::AdmissionsMessage {
        Input => as "its inputs, below";
        Order => as "the input of that name";
        Invites => [at(1, Verb(&["invite", "list"]))];
        Members => [at(1, Verb(&["member", "list"]))];
        Standing => as "Members, which reads the same";
    }
    "admissions": admissions::protocol::Input {
        Order => [at(1, Invites), at(2, Invites)];
        Persisted => [at(1, Invites)];
        PersistFailed => [with(&["admissions-store:Write:1"], Invites)];
    }
    "membership": membership::MembershipMessage {
        Input => as "its inputs, below";
        Heard => as "the input Datagram";
        Wake => [at(1, Join), at(9, Join)];
        Asked => as "the input of that name";
        Lines => [at(1, Verb(&["nodes"]))];
    }
    "membership": membership::protocol::Input {
        Datagram => [at(1, Join), at(5, Join)];
        Met => [at(1, Join)];
        Links => [at(1, Join)];
        Asked => [at(1, Join)];
        Answered => [at(1, Join)];
        PutOut => [at(1, PutOut)];
        Leave => [at(1, Stop)];
    }
    "gateway": troop_gateway::gateway::GatewayMessage {
        Addresses => [at(1, Start)];
        Drain => [at(1, Stop)];
        End => [at(1, StopLate)];
        Deaf => [with(&["gateway-listener:Accept:1"], Ask)];
    }
    "supervisor": troop::supervisor::SupervisorMessage {
        Stop => [at(1, Stop)];
    }
}
