//! What an owner lends of a machine: flags of `node`.

use super::spans;
use clap::{Args, ValueEnum};
use std::time::Duration;
use troop_actors::gpu_monitor::policy::{Hours, Policy, Share};

/// What an owner lends.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct LendArgs {
    /// Whom this machine is for first
    #[arg(
        long,
        env = "TROOP_SHARE",
        value_enum,
        help = "Whom this machine is for first [default: always; polite with --join]"
    )]
    share: Option<First>,
    /// The only hours at which models are served, as in 18:00-08:00, by this machine's clock
    #[arg(long, env = "TROOP_SERVE_HOURS", value_name = "HOURS")]
    serve_hours: Option<Hours>,
    /// How long nobody else must have wanted the machine before it serves again [default: 60s]
    #[arg(long, env = "TROOP_IDLE_FOR", value_name = "TIME", value_parser = spans::patience)]
    idle_for: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum First {
    /// The troop, whatever else it does
    Always,
    /// Programs that use its GPU, and its battery; then the troop
    Polite,
    /// Everybody else: the troop gets it while nobody uses GPU or processors
    Idle,
}

impl LendArgs {
    /// What holds where the node has joined a troop of somebody else's, or where it is one of its own. Who runs a
    /// node for himself wants it to run; who lends a machine to others must not be sorry.
    pub(super) fn policy(&self, joined: bool) -> Policy {
        let share = match (self.share, joined) {
            (Some(First::Always), _) | (None, false) => Share::Always,
            (Some(First::Polite), _) | (None, true) => Share::Polite,
            (Some(First::Idle), _) => Share::Idle,
        };
        let idle = self.idle_for.unwrap_or(IDLE_FOR);
        Policy {
            share,
            hours: self.serve_hours,
            idle_ms: idle.as_millis() as u64,
        }
    }
}

/// Loading a model for a machine whose owner only went for a coffee would be in vain.
const IDLE_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn read(words: &[&str]) -> Result<LendArgs, clap::Error> {
        let command = LendArgs::augment_args(Command::new("node").no_binary_name(true));
        LendArgs::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn a_machine_of_a_troop_is_lent_politely_and_one_of_its_own_always_unless_it_is_said() {
        let share = |words: &[&str], joined| read(words).expect("lawful").policy(joined).share;
        assert_eq!(share(&[], false), Share::Always);
        assert_eq!(share(&[], true), Share::Polite);
        assert_eq!(share(&["--share", "idle"], false), Share::Idle);
        assert_eq!(share(&["--share", "always"], true), Share::Always);
        let words = ["--serve-hours", "18:00-08:00", "--idle-for", "5m"];
        let policy = read(&words).expect("lawful").policy(true);
        assert_eq!(policy.hours, "18:00-08:00".parse().ok());
        assert_eq!(policy.idle_ms, 300_000);
        for wrong in [
            ["--serve-hours", "18-8"],
            ["--share", "never"],
            ["--idle-for", "0s"],
        ] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }
}
