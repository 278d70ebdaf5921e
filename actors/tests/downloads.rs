//! Pulls over the web from servers that are slow, cut, lie and send elsewhere, one fault after the other.

#[path = "support/download.rs"]
mod download;
#[path = "support/place.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod place;
#[path = "support/server.rs"]
mod server;

use download::{assert_here, fetch, file, means, partials, sha256};
use place::{Place, go_on, model_of};
use server::{Fault, Server};
use std::fs;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use troop_actors::model_store::{Phase, Progress, PullError, Source, pull};

#[test]
fn a_download_that_is_cut_again_and_again_fetches_no_byte_twice() {
    let (place, server) = (Place::new("cut"), Server::start(file()));
    server.faults([
        Fault::Cut(50_000),
        Fault::Nothing,
        Fault::Cut(1),
        Fault::Status(503, None),
        Fault::Stall(60_000),
        Fault::Noise,
        Fault::Cut(0),
        Fault::Slow,
    ]);
    let pulled = fetch(&place, &server.address()).unwrap();
    assert!(!pulled.up_to_date);
    assert_here(&place, &file());
    assert_eq!(server.sent(), file().len());
    let from: Vec<_> = server.seen().iter().map(|seen| seen.from).collect();
    let later = [0, 50_000, 50_000, 50_001, 50_001, 110_001, 110_001, 110_001];
    assert_eq!(from[0], None);
    assert_eq!(
        from[1..],
        later[1..]
            .iter()
            .map(|from| Some(*from))
            .collect::<Vec<_>>()
    );
    let if_range = server.seen().last().unwrap().if_range.clone();
    assert_eq!(if_range.as_deref(), Some("\"v0\""));
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let (place, server) = (Place::new("ranges"), Server::start(file()));
    server.faults([Fault::Cut(50_000), Fault::NoRanges]);
    fetch(&place, &server.address()).unwrap();
    assert_here(&place, &file());
    assert_eq!(server.sent(), 50_000 + file().len());
}

#[test]
fn a_file_without_a_mark_and_without_a_hash_is_not_put_together_from_two_answers() {
    let (place, server) = (Place::new("unmarked"), Server::start(file()));
    server.faults([Fault::CutUnmarked(50_000)]);
    fetch(&place, &server.address()).unwrap();
    assert_here(&place, &file());
    assert_eq!(server.sent(), 50_000 + file().len());
    // With its hash known it can be: what is wrong would be seen.
    let other = Place::new("unmarked-known");
    let server = Server::start(file());
    server.faults([Fault::CutUnmarked(50_000)]);
    fetch(
        &other,
        &format!("{}#sha256={}", server.address(), sha256(&file())),
    )
    .unwrap();
    assert_here(&other, &file());
    assert_eq!(server.sent(), file().len());
}

#[test]
fn a_file_that_changes_on_the_way_comes_whole_in_its_new_form() {
    for unseen in [false, true] {
        let (place, server) = (Place::new("changes"), Server::start(file()));
        let other = model_of(10_000, 2);
        let changed = match unseen {
            true => Fault::ChangedUnseen(other.clone()),
            false => Fault::Changed(other.clone()),
        };
        server.faults([Fault::Cut(50_000), changed]);
        fetch(&place, &server.address()).unwrap();
        assert_here(&place, &other);
    }
}

#[test]
fn a_wrong_byte_is_an_integrity_fault_and_nothing_of_the_file_stays() {
    let (place, server) = (Place::new("byte"), Server::start(file()));
    let source = format!("{}#sha256={}", server.address(), sha256(&file()));
    server.faults([Fault::Cut(50_000), Fault::Byte(150_000)]);
    let error = fetch(&place, &source).unwrap_err();
    assert!(matches!(error, PullError::Integrity { .. }), "{error}");
    place.assert_clean(0);
    assert_eq!(partials(&place), 0);
    // It begins anew, not from the wrong bytes.
    fetch(&place, &source).unwrap();
    assert_here(&place, &file());
}

#[test]
fn a_length_that_is_not_so_is_named_and_nothing_of_the_file_stays() {
    for (more, sha_known) in [(1000, false), (1000, true), (-1000, false), (-1000, true)] {
        let (place, server) = (Place::new("length"), Server::start(file()));
        let mut source = server.address();
        if sha_known {
            source += &format!("#sha256={}", sha256(&file()));
        }
        server.faults([Fault::Length(more)]);
        let error = fetch(&place, &source).unwrap_err();
        let named = match more > 0 {
            true => matches!(error, PullError::Length { .. }),
            false => matches!(error, PullError::Unfit { .. } | PullError::Integrity { .. }),
        };
        assert!(named, "{more} {sha_known}: {error}");
        place.assert_clean(0);
        assert_eq!(partials(&place), 0);
    }
}

#[test]
fn a_page_instead_of_a_model_is_no_model() {
    let page = b"<html>please log in</html>".to_vec();
    let (place, server) = (Place::new("page"), Server::start(page));
    let error = fetch(&place, &server.address()).unwrap_err();
    assert!(matches!(error, PullError::Unfit { .. }), "{error}");
    place.assert_clean(0);
    assert_eq!(partials(&place), 0);
}

#[test]
fn a_busy_server_is_given_the_time_it_asks_for_within_reason() {
    let (place, server) = (Place::new("busy"), Server::start(file()));
    server.faults([Fault::Status(429, Some(1))]);
    #[allow(clippy::disallowed_methods)] // The pause is a real one.
    let since = Instant::now();
    fetch(&place, &server.address()).unwrap();
    assert!(since.elapsed() >= Duration::from_secs(1));

    let place = Place::new("busier");
    server.faults([Fault::Status(429, Some(100_000))]);
    let error = fetch(&place, &server.address()).unwrap_err();
    assert!(matches!(error, PullError::GivenUp { .. }), "{error}");
    assert!(error.to_string().contains("100000 s"), "{error}");
}

#[test]
fn a_server_that_never_answers_well_is_given_up_and_what_came_is_kept() {
    let (place, server) = (Place::new("never"), Server::start(file()));
    server.faults([vec![Fault::Cut(50_000)], vec![Fault::Status(500, None); 20]].concat());
    let error = fetch(&place, &server.address()).unwrap_err();
    assert!(
        matches!(
            error,
            PullError::GivenUp {
                bytes: 50_000,
                attempts: 4,
                ..
            }
        ),
        "{error:?}"
    );
    place.assert_clean(0);
    server.faults([]);
    fetch(&place, &server.address()).unwrap();
    assert_here(&place, &file());
    assert_eq!(server.sent(), file().len());
}

#[test]
fn what_asking_again_does_not_mend_is_said_at_once() {
    let server = Server::start(file());
    let elsewhere = "ftp://127.0.0.1/x".to_owned();
    let cases = [
        (Fault::Status(404, None), "there is no such thing"),
        (Fault::Status(401, None), "it wants a token"),
        (Fault::Status(403, None), "it wants a token"),
        (Fault::Status(418, None), "the server answers 418"),
        (Fault::Packed, "packed"),
        (Fault::Redirect(elsewhere), "https://"),
        (
            Fault::Redirect("http://u:p@127.0.0.1/".to_owned()),
            "no password",
        ),
        (
            Fault::Redirect("http://127.0.0.1.example/x".to_owned()),
            "without TLS",
        ),
        (Fault::Redirect(String::new()), "there is no such thing"),
    ];
    for (fault, words) in cases {
        let place = Place::new("at-once");
        let before = server.seen().len();
        server.faults([fault.clone(), Fault::Status(404, None)]);
        let error = fetch(&place, &server.address()).unwrap_err();
        assert!(error.to_string().contains(words), "{fault:?}: {error}");
        assert!(server.seen().len() - before <= 2, "{fault:?}");
        place.assert_clean(0);
    }
    let error = fetch(&Place::new("far"), "http://192.0.2.1/x.gguf").unwrap_err();
    assert!(error.to_string().contains("without TLS"), "{error}");
}

#[test]
fn redirects_are_followed_to_their_end_and_a_circle_has_none() {
    let (place, server) = (Place::new("circle"), Server::start(file()));
    server.faults([
        Fault::Redirect("/other?x=1".to_owned()),
        Fault::Redirect("relative".to_owned()),
    ]);
    fetch(&place, &server.address()).unwrap();
    assert_here(&place, &file());
    let paths: Vec<_> = server.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/some/x.gguf", "/other?x=1", "/relative"]);

    let place = Place::new("circle-without-end");
    server.faults(vec![Fault::Redirect("/again".to_owned()); 50]);
    let error = fetch(&place, &server.address()).unwrap_err();
    assert!(
        error.to_string().contains("more than 10 redirects"),
        "{error}"
    );
}

#[test]
fn whoever_watches_ends_a_download_and_the_next_goes_on_there() {
    let (place, server) = (Place::new("watched"), Server::start(file()));
    server.faults([Fault::Stall(100_000)]);
    let source: Source = server.address().parse().unwrap();
    let mut report = |progress: Progress| match progress.bytes >= 100_000 {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let error = pull(&place.store(), "tiny", &source, &means(1), &mut report).unwrap_err();
    assert!(matches!(error, PullError::Interrupted), "{error}");
    place.assert_clean(0);
    assert!(partials(&place) > 0);

    let mut phases = Vec::new();
    let mut report = |progress: Progress| {
        if phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
        ControlFlow::Continue(())
    };
    pull(&place.store(), "tiny", &source, &means(1), &mut report).unwrap();
    assert_eq!(phases, [Phase::Verifying, Phase::Fetching, Phase::Checking]);
    assert_here(&place, &file());
    assert_eq!(server.sent(), file().len());
}

#[test]
fn what_lies_behind_the_note_of_a_killed_download_is_not_believed() {
    let (place, server) = (Place::new("note"), Server::start(file()));
    server.faults([vec![Fault::Cut(50_000)], vec![Fault::Status(500, None); 20]].concat());
    fetch(&place, &server.address()).unwrap_err();
    // A power cut: the file is longer than what is known to have reached the disk, and wrong there.
    let partial = fs::read_dir(place.root.join("models/partial"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "partial"))
        .unwrap();
    let mut bytes = fs::read(&partial).unwrap();
    bytes.extend([0; 30_000]);
    fs::write(&partial, bytes).unwrap();
    server.faults([]);
    fetch(&place, &server.address()).unwrap();
    assert_here(&place, &file());
}

#[test]
fn a_model_that_is_here_is_not_fetched_again_while_the_server_has_the_same() {
    let (place, server) = (Place::new("same"), Server::start(file()));
    let source = format!("{}#sha256={}", server.address(), sha256(&file()));
    fetch(&place, &source).unwrap();
    // Its hash says it all: nobody is asked.
    assert!(fetch(&place, &source).unwrap().up_to_date);
    assert_eq!(server.seen().len(), 1);

    // Without a hash the server is asked whether it still has the same.
    let place = Place::new("same-mark");
    fetch(&place, &server.address()).unwrap();
    assert!(fetch(&place, &server.address()).unwrap().up_to_date);
    assert_eq!(server.sent(), 2 * file().len());
    let other = model_of(10_000, 2);
    server.faults([Fault::Changed(other.clone())]);
    assert!(!fetch(&place, &server.address()).unwrap().up_to_date);
    assert_here(&place, &other);
}

#[test]
fn pulls_at_the_same_time_share_one_download() {
    let (place, server) = (Place::new("shared"), Server::start(file()));
    server.faults([Fault::Stall(1000)]);
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| fetch(&place, &server.address()).unwrap()))
            .collect();
        let fresh = pulls.into_iter().map(|one| one.join().unwrap());
        assert_eq!(fresh.filter(|pulled| !pulled.up_to_date).count(), 1);
    });
    assert_here(&place, &file());
    assert_eq!(server.sent(), file().len());
}

#[test]
fn a_download_does_not_keep_others_from_the_store() {
    let (place, server) = (Place::new("beside"), Server::start(file()));
    server.faults([Fault::Stall(1000)]);
    let other = place.file("other.gguf", &model_of(1, 3));
    let mut meanwhile = false;
    let mut report = |progress: Progress| {
        if progress.bytes >= 1000 && !meanwhile {
            place.pull_file("other", &other).unwrap();
            meanwhile = true;
        }
        ControlFlow::Continue(())
    };
    let source: Source = server.address().parse().unwrap();
    pull(&place.store(), "tiny", &source, &means(1), &mut report).unwrap();
    assert!(meanwhile);
    place.assert_clean(2);
}

#[test]
fn offline_nobody_is_asked_and_what_is_here_is_enough() {
    let (place, server) = (Place::new("offline"), Server::start(file()));
    let source: Source = server.address().parse().unwrap();
    let mut offline = means(1);
    offline.offline = true;
    let error = pull(&place.store(), "tiny", &source, &offline, &mut go_on).unwrap_err();
    assert!(matches!(error, PullError::Offline { .. }), "{error}");
    fetch(&place, &server.address()).unwrap();
    let asked = server.seen().len();
    let pulled = pull(&place.store(), "tiny", &source, &offline, &mut go_on).unwrap();
    assert!(pulled.up_to_date);
    assert_eq!(server.seen().len(), asked);
    for source in ["pypi:x", "hf:o/r"] {
        let source: Source = source.parse().unwrap();
        let error = pull(&place.store(), "other", &source, &offline, &mut go_on).unwrap_err();
        assert!(matches!(error, PullError::Offline { .. }), "{error}");
    }
}
