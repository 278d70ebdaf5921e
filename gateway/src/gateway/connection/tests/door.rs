//! What strangers may send, how slowly, and what they are told.

use super::{hello, streamed};
use crate::limits::Limits;
use crate::problem::Problem;
use crate::scripted::*;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_slow_head_and_a_slow_body_are_told_off() {
    let mut house = House::new(Limits::default()).await;
    let head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\
        Content-Length: 5000\r\n\r\n";
    for (bytes, seconds) in [(&head[..40], 10), (&head[..], 10)] {
        let begun = Instant::now();
        let answer = house.exchange(bytes).await;
        assert_eq!(answer.status, 408, "{answer:?}");
        assert_eq!(answer.json()["error"]["code"], "request_timeout");
        assert!(begun.elapsed() < Duration::from_secs(seconds + 3));
    }
    // A connection that never said anything is closed without a word.
    assert_eq!(house.exchange(b"").await.status, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_at_the_door() {
    let chat = "/v1/chat/completions";
    let good = hello().to_string();
    let with = |headers: &str| post(chat, headers, &good);
    let host = |host: &str| {
        format!("GET /v1/models HTTP/1.1\r\nConnection: close\r\n{host}\r\n").into_bytes()
    };
    let huge_head = ask("GET", "/", &format!("X-Big: {}\r\n", "x".repeat(20_000)));
    let many_fields = ask("GET", "/", &"X: y\r\n".repeat(200));
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (
            "evil host",
            host("Host: evil.example\r\n"),
            403,
            "host_not_allowed",
        ),
        (
            "evil port",
            host("Host: evil.example:9000\r\n"),
            403,
            "host_not_allowed",
        ),
        (
            "like an address",
            host("Host: 10.0.0.1.evil.example:9000\r\n"),
            403,
            "host_not_allowed",
        ),
        ("no host", host(""), 400, ""),
        (
            "two hosts",
            host("Host: localhost\r\nHost: localhost\r\n"),
            400,
            "",
        ),
        (
            "foreign page",
            with("Origin: http://evil.example\r\n"),
            403,
            "origin_not_allowed",
        ),
        (
            "null origin",
            with("Origin: null\r\n"),
            403,
            "origin_not_allowed",
        ),
        (
            "other port",
            with("Origin: http://127.0.0.1:1\r\n"),
            403,
            "origin_not_allowed",
        ),
        (
            "wrong key",
            with("Authorization: Bearer sk-123\r\n"),
            401,
            "invalid_api_key",
        ),
        (
            "unknown key",
            with("Authorization: Bearer troop-no\r\n"),
            401,
            "invalid_api_key",
        ),
        (
            "basic",
            with("Authorization: Basic dDp0\r\n"),
            401,
            "invalid_api_key",
        ),
        (
            "proxy",
            with("X-Forwarded-For: 1.2.3.4\r\n"),
            401,
            "invalid_api_key",
        ),
        (
            "gzip",
            with("Content-Encoding: gzip\r\n"),
            415,
            "unsupported_media_type",
        ),
        (
            "form",
            {
                let text = String::from_utf8(with("")).expect("ASCII");
                text.replace("application/json", "text/plain").into_bytes()
            },
            415,
            "unsupported_media_type",
        ),
        ("GET chat", ask("GET", chat, ""), 405, "method_not_allowed"),
        (
            "OPTIONS",
            ask("OPTIONS", chat, ""),
            405,
            "method_not_allowed",
        ),
        (
            "DELETE models",
            ask("DELETE", "/v1/models", ""),
            405,
            "method_not_allowed",
        ),
        (
            "no such path",
            ask("GET", "/v1/nothing", ""),
            404,
            "unknown_url",
        ),
        (
            "control by TCP",
            ask("GET", "/v1/troop/status", ""),
            404,
            "unknown_url",
        ),
        (
            "drain by TCP",
            post("/v1/troop/drain", "", "{}"),
            404,
            "unknown_url",
        ),
        (
            "no such model",
            ask("GET", "/v1/models/smolm2", ""),
            404,
            "model_not_found",
        ),
        ("badly encoded", ask("GET", "/v1/models/%zz", ""), 400, ""),
        ("not HTTP", b"hello there\r\n\r\n".to_vec(), 400, ""),
        ("huge head", huge_head, 431, "headers_too_large"),
        ("many fields", many_fields, 431, "headers_too_large"),
        ("not JSON", post(chat, "", "{"), 400, ""),
        ("deep", post(chat, "", &"[".repeat(100_000)), 400, ""),
        (
            "twice",
            post(chat, "", r#"{"model":"a","model":"b"}"#),
            400,
            "",
        ),
        (
            "1.0 garbage",
            b"POST /v1/x HTTP/1.0\r\n\r\n".to_vec(),
            404,
            "unknown_url",
        ),
    ];
    let mut house = House::new(Limits::default()).await;
    for (name, bytes, status, code) in cases {
        let answer = house.exchange(&bytes).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"].as_str().unwrap_or(""), code, "{name}");
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{name}"
        );
        assert!(
            error.as_object().expect("object").contains_key("param"),
            "{name}"
        );
        assert!(answer.header("x-request-id").is_some(), "{name}");
        assert!(!answer.head.contains("access-control"), "{name}");
        match status {
            401 => assert_eq!(answer.header("www-authenticate"), Some("Bearer")),
            405 => assert!(answer.header("allow").is_some()),
            _ => {}
        }
    }
    assert!(house.node.orders.lock().expect("no panic").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_refused_without_being_kept() {
    let mut house = House::new(Limits::default()).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
    let told = format!("{head}Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n");
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    chunked.push_str(&chunk.repeat(160));
    chunked.push_str("0\r\n\r\n");
    for request in [told, chunked] {
        let answer = house.exchange(request.as_bytes()).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(answer.json()["error"]["code"], "request_too_large");
    }
    assert_eq!(house.shared.bodies.available_permits(), 128 * 1024);
}

#[tokio::test(start_paused = true)]
async fn what_is_let_in() {
    let good = hello().to_string();
    let with = |headers: &str| post("/v1/chat/completions", headers, &good);
    let key = format!("Authorization: bearer {GUEST_KEY}\r\n");
    let cases = [
        (with(""), OWNER),
        (with("Authorization: Bearer sk-no-key-required\r\n"), OWNER),
        (with("Authorization: Bearer troop\r\n"), OWNER),
        (with("Authorization: Bearer\r\n"), OWNER),
        (with(&key), GUEST),
        (with("Origin: http://127.0.0.1:9000\r\n"), OWNER),
    ];
    let mut house = House::new(Limits::default()).await;
    for (request, payer) in cases {
        let answer = house.exchange(&request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let order = house.node.orders.lock().expect("no panic").pop();
        assert_eq!(order.expect("one").payer, payer);
    }
    // A listener that others can reach knows neither keyless clients nor placeholders.
    for (headers, status) in [
        ("", 401),
        ("Authorization: Bearer troop\r\n", 401),
        (&key, 200),
    ] {
        let client = house.connect(false, false);
        assert_eq!(exchange(client, &with(headers)).await.status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_id_is_kept_if_harmless_and_else_replaced() {
    let mut house = House::new(Limits::default()).await;
    let answer = house
        .exchange(&ask("GET", "/", "X-Request-Id: abc-1\r\n"))
        .await;
    assert_eq!(answer.header("x-request-id"), Some("abc-1"));
    let long = format!("X-Request-Id: {}\r\n", "a".repeat(200));
    for headers in ["X-Request-Id: a b\r\n", "X-Request-Id: <x>\r\n", &long] {
        let answer = house.exchange(&ask("GET", "/", headers)).await;
        assert!(
            answer
                .header("x-request-id")
                .expect("one")
                .starts_with("req-")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn models_are_listed_and_found_by_every_spelling() {
    let mut house = House::new(Limits::default()).await;
    let list = house.exchange(&ask("GET", "/v1/models", "")).await.json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "smollm2");
    for path in ["org/qwen3:0.6b", "org%2Fqwen3%3A0.6b"] {
        let model = house
            .exchange(&ask("GET", &format!("/v1/models/{path}"), ""))
            .await;
        assert_eq!(model.json()["id"], "org/qwen3:0.6b");
    }
    let digest = format!("/v1/models/sha256:{PASSPORT}");
    assert_eq!(
        house.exchange(&ask("GET", &digest, "")).await.json()["id"],
        "smollm2"
    );
    let version = "anthropic-version: 2023-06-01\r\n";
    let list = house
        .exchange(&ask("GET", "/v1/models", version))
        .await
        .json();
    assert_eq!(list["has_more"], false);
    assert_eq!(list["data"][0]["created_at"], "2023-11-14T22:13:20Z");
    let mut body = hello();
    body["model"] = json!("smolm2");
    let answer = house.chat(&body).await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("did you mean smollm2?"));
}

#[tokio::test(start_paused = true)]
async fn health_says_what_is_wrong() {
    let mut house = House::new(Limits::default()).await;
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/healthz",
        "/health",
        "/v1/health",
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(house.exchange(&ask(method, path, "")).await.status, 200);
        }
    }
    house.node.sick.store(true, Ordering::SeqCst);
    assert_eq!(house.exchange(&ask("GET", "/livez", "")).await.status, 200);
    let sick = house.exchange(&ask("GET", "/readyz", "")).await;
    assert_eq!(sick.status, 503);
    assert!(sick.body.contains("[-] models: none is loaded"));
    let json = house
        .exchange(&ask("GET", "/readyz", "Accept: application/json\r\n"))
        .await;
    assert_eq!(json.json()["checks"][1]["ok"], false);
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_and_refused_sessions_are_told_when_to_come_back() {
    let limits = Limits {
        requests_max: 1,
        ..Limits::default()
    };
    let mut house = House::new(limits).await;
    house.script(vec![Step::Pause(Duration::from_secs(100))]);
    let mut first = house.connect(false, true);
    let request = post("/v1/chat/completions", "", &hello().to_string());
    first.write_all(&request).await.expect("a pipe");
    sleep(Duration::from_millis(5)).await;
    let second = house.chat(&hello()).await;
    assert_eq!(second.status, 503);
    assert_eq!(second.header("retry-after-ms"), Some("1000"));
    drop(first);
    sleep(Duration::from_millis(5)).await;
    *house.node.refuses.lock().expect("no panic") = Some(Problem::unavailable("scheduler"));
    assert_eq!(
        house.chat(&hello()).await.json()["error"]["code"],
        "unavailable"
    );
    assert_eq!(house.shared.open().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_chunked_request_is_the_last_on_its_connection() {
    let mut house = House::new(Limits::default()).await;
    let body = hello().to_string();
    let smuggled = ask("GET", "/livez", "");
    // Two lengths: whoever believes the second sees another request in the rest.
    let mut request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len(),
        body.len()
    )
    .into_bytes();
    request.extend(smuggled);
    let answer = house.exchange(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(
        answer.body.matches("HTTP/1.1").count(),
        0,
        "nothing follows"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_is_gone_after_a_while() {
    let mut house = House::new(Limits::default()).await;
    let long = "x".repeat(10_000);
    house.script(saying(&vec![long.as_str(); 100]));
    let mut client = house.connect(false, true);
    let request = post("/v1/chat/completions", "", &streamed().to_string());
    client.write_all(&request).await.expect("a pipe");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(house.shared.open().len(), 1, "it may be slow");
    sleep(Duration::from_secs(40)).await;
    assert_eq!(house.shared.open().len(), 0, "but not for ever");
    drop(client);
}
