//! Pulls from a hub, and from two hundred servers with random faults: each ends with the right file or with an
//! error that names the fault, goes on where it stopped, and leaves no bad file.

#[path = "support/download.rs"]
mod download;
#[path = "support/place.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod place;
#[path = "support/server.rs"]
mod server;

use download::{assert_here, file, means, sha256};
use place::{Place, go_on, model_of};
use server::{Fault, Server};
use troop_actors::model_store::{PullError, Source, Token, pull};

#[test]
fn a_hub_is_asked_for_the_commit_the_list_and_the_file_and_no_other_origin_gets_the_token() {
    let (place, hub, far) = (
        Place::new("hub"),
        Server::start(Vec::new()),
        Server::start(file()),
    );
    let commit = "c".repeat(40);
    let sha256 = sha256(&file());
    hub.text(
        "/api/models/o/r/revision/main",
        format!("{{\"sha\":\"{commit}\"}}"),
    );
    hub.text(
        &format!("/api/models/o/r/tree/{commit}?recursive=true"),
        format!(
            "[{{\"type\":\"file\",\"path\":\"m-Q4_K_M.gguf\",\"size\":1,\"lfs\":\
             {{\"oid\":\"{sha256}\",\"size\":{}}}}},\
             {{\"type\":\"file\",\"path\":\"m-Q8_0.gguf\",\"size\":1}},\
             {{\"type\":\"file\",\"path\":\"mmproj-m.gguf\",\"size\":1}}]",
            file().len()
        ),
    );
    // Cut once: the whole road is gone again, since what it led to may have expired.
    hub.faults(vec![
        Fault::Redirect(format!("{}/blob?signed=1", far.origin));
        2
    ]);
    far.faults([Fault::Cut(50_000)]);
    let mut means = means(1);
    means.hub = hub.origin.clone();
    means.hub_token = Some(Token("hf_secret".to_owned()));
    let source: Source = "hf:o/r".parse().unwrap();
    let pulled = pull(&place.store(), "tiny", &source, &means, &mut go_on).unwrap();

    assert_eq!(pulled.manifest.source, "hf:o/r");
    assert_here(&place, &file());
    assert_eq!(far.sent(), file().len());
    let bearer = Some("Bearer hf_secret".to_owned());
    assert!(hub.seen().iter().all(|seen| seen.authorization == bearer));
    assert_eq!(
        hub.seen().last().unwrap().path,
        format!("/o/r/resolve/{commit}/m-Q4_K_M.gguf")
    );
    assert_eq!(far.seen().len(), 2);
    assert!(far.seen().iter().all(|seen| seen.authorization.is_none()));

    // What the list says is what must come.
    let other = Place::new("hub-lies");
    let liar = Server::start(model_of(10_000, 2));
    hub.faults([Fault::Redirect(format!("{}/blob", liar.origin))]);
    let error = pull(&other.store(), "tiny", &source, &means, &mut go_on).unwrap_err();
    assert!(matches!(error, PullError::Integrity { .. }), "{error}");
    other.assert_clean(0);
    let short = Server::start(model_of(9_000, 1));
    hub.faults([Fault::Redirect(format!("{}/blob", short.origin))]);
    let error = pull(&other.store(), "tiny", &source, &means, &mut go_on).unwrap_err();
    assert!(matches!(error, PullError::Length { .. }), "{error}");
    other.assert_clean(0);
    assert!(!format!("{means:?}").contains("hf_secret"));
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % below
    }
}

#[test]
fn two_hundred_random_servers_give_the_right_file_or_a_named_error_and_never_a_bad_file() {
    let (good, other) = (file(), model_of(10_000, 2));
    let (mut right, mut named) = (0, 0);
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let known = dice.roll(2) == 0;
        let (place, server) = (Place::new("random"), Server::start(good.clone()));
        let count = dice.roll(9);
        let faults: Vec<Fault> = (0..count)
            .map(|_| match dice.roll(if known { 14 } else { 12 }) {
                0..=2 => Fault::Cut(dice.roll(good.len())),
                3 => Fault::Stall(dice.roll(good.len())),
                4 => Fault::Slow,
                5 => Fault::Status([429, 500, 502, 503][dice.roll(4)], None),
                6 => Fault::NoRanges,
                7 => Fault::Nothing,
                8 => Fault::OtherRange,
                9 => Fault::Noise,
                10 => Fault::Length(dice.roll(2000) as i64 - 1000),
                11 => Fault::Redirect("/elsewhere".to_owned()),
                12 => Fault::Byte(dice.roll(good.len())),
                _ => [
                    Fault::Changed(other.clone()),
                    Fault::ChangedUnseen(other.clone()),
                ][dice.roll(2)]
                .clone(),
            })
            .collect();
        // Only these leave a file from which every byte that came is worth keeping.
        let honest = faults.iter().all(|fault| {
            use Fault::{Cut, Noise, Nothing, Redirect, Slow, Stall, Status};
            matches!(
                fault,
                Cut(_) | Stall(_) | Slow | Status(..) | Nothing | Noise | Redirect(_)
            )
        });
        server.faults(faults.clone());
        let mut source = server.address();
        if known {
            source += &format!("#sha256={}", sha256(&good));
        }
        let mut means = means(seed);
        means.patience.silence_ms_max = 150;
        let store = place.store();
        let once = || pull(&store, "tiny", &source.parse().unwrap(), &means, &mut go_on);
        match once() {
            Ok(_) => {
                assert_here(&place, &good);
                right += 1;
            }
            Err(error) => {
                let fits = match error {
                    PullError::Integrity { .. } => known,
                    PullError::Length { .. }
                    | PullError::Unfit { .. }
                    | PullError::GivenUp { .. } => true,
                    _ => false,
                };
                assert!(fits, "seed {seed} {faults:?}: {error}");
                place.assert_clean(0);
                named += 1;
                if server.file() == good {
                    // Whatever went wrong before: from a good server it comes.
                    server.faults([]);
                    once().unwrap_or_else(|error| panic!("seed {seed} {faults:?}: {error}"));
                    assert_here(&place, &good);
                }
            }
        }
        if honest {
            assert_eq!(server.sent(), good.len(), "seed {seed} {faults:?}");
        }
    }
    println!("{right} came at once, {named} after a named error");
    assert!(
        right > 50 && named > 20,
        "the faults are too tame or too wild: {right}, {named}"
    );
}
