//! What a request holds until its end, and how it is ended from here.

use super::{hello, streamed};
use crate::gateway::shared::Phase;
use crate::limits::Limits;
use crate::scripted::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn an_address_or_a_name_of_its_own_reaches_the_node() {
    let mut house = House::new(Limits::default()).await;
    for host in [
        "10.0.0.1",
        "192.168.1.20:9000",
        "[fd00::1]:9000",
        "[::1]",
        "LOCALHOST:9000",
        "box.example",
        "Box.Example:9000",
    ] {
        let request =
            format!("GET /v1/models HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\n\r\n");
        let answer = house.exchange(request.as_bytes()).await;
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_no_request_is_answered_under_an_id_of_its_own() {
    let mut house = House::new(Limits::default()).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = house.exchange(b"hello there\r\n\r\n").await;
        ids.extend(answer.header("x-request-id").map(str::to_owned));
    }
    assert!(ids.iter().all(|id| id.starts_with("req-")), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn a_body_keeps_its_share_of_memory_until_its_request_is_over() {
    let mut house = House::new(Limits::default()).await;
    let mut steps = saying(&["Hello"])[..2].to_vec();
    steps.push(Step::Pause(Duration::from_secs(1000)));
    house.script(steps);
    let mut body = streamed();
    body["messages"][0]["content"] = "x".repeat(300_000).into();
    let all = house.shared.bodies.available_permits();
    let mut client = house.connect(false, true);
    let request = post("/v1/chat/completions", "", &body.to_string());
    let (mut reading, mut writing) = tokio::io::split(&mut client);
    let begun = async { reading.read_exact(&mut [0; 16]).await };
    let (written, begun) = tokio::join!(writing.write_all(&request), begun);
    written.expect("it reads");
    begun.expect("it has begun");
    let held = all - house.shared.bodies.available_permits();
    assert!(held >= 292, "{held} KiB");
    drop(client);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(house.shared.bodies.available_permits(), all);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_not_begun_is_ended_with_a_status() {
    let mut house = House::new(Limits::default()).await;
    house.script(vec![Step::Pause(Duration::from_secs(1000))]);
    let phase = house.shared.phase.clone();
    let ending = async {
        sleep(Duration::from_secs(2)).await;
        phase.send_replace(Phase::Ending);
    };
    let body = streamed();
    let (answer, ()) = tokio::join!(house.chat(&body), ending);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], "draining");
    house.script(Vec::new());
    assert_eq!(house.chat(&hello()).await.status, 503);
}
