//! A gateway on real sockets: its death, its drain, and who gets a place.

use super::*;
use crate::scripted::{Answer, Scripted, args, ask};
use ractor::Actor;
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Answer {
    stream
        .write_all(&ask("GET", path, ""))
        .await
        .expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    Answer::read(&answer)
}

#[tokio::test]
async fn a_gateway_that_dies_frees_its_addresses_for_the_next() {
    let folder = std::env::temp_dir().join(format!("troop-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the socket");
    let socket = folder.join("ctl.sock");
    let mut args = args(&Arc::new(Scripted::default()), Limits::default());
    args.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    args.socket = Some(socket.clone());
    let (first, ended) = Actor::spawn(None, Gateway, args.clone())
        .await
        .expect("free");
    let address = GatewayHandle(first.clone())
        .addresses()
        .await
        .expect("alive")[0];

    let mode = std::fs::metadata(&socket)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let inside = std::fs::read_dir(&folder).expect("it is there").count();
    assert_eq!(inside, 1, "nothing lies beside the socket");
    let tcp = TcpStream::connect(address).await.expect("it listens");
    assert_eq!(exchange(tcp, "/livez").await.status, 200);
    let unix = UnixStream::connect(&socket).await.expect("it listens");
    assert_eq!(exchange(unix, "/v1/troop/status").await.status, 200);

    let mut open = TcpStream::connect(address).await.expect("it listens");
    first.kill();
    ended.await.expect("no panic");
    args.listen = vec![address];
    let (second, _) = Actor::spawn(None, Gateway, args).await.expect("free again");
    assert_eq!(
        open.read(&mut [0; 8]).await.unwrap_or(0),
        0,
        "old sockets close"
    );
    let tcp = TcpStream::connect(address).await.expect("it listens again");
    assert_eq!(exchange(tcp, "/livez").await.status, 200);
    let unix = UnixStream::connect(&socket)
        .await
        .expect("it listens again");
    assert_eq!(exchange(unix, "/livez").await.status, 200);
    second.stop(None);
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn a_draining_gateway_says_so_and_ends_what_does_not_end_by_itself() {
    use crate::scripted::{Step, post, saying};
    let node = Arc::new(Scripted::default());
    let mut steps = saying(&["Hello"])[..2].to_vec();
    steps.push(Step::Pause(Duration::from_secs(1000)));
    *node.steps.lock().expect("new") = steps;
    let mut args = args(&node, Limits::default());
    args.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let (gateway, _) = Actor::spawn(None, Gateway, args).await.expect("free");
    let handle = GatewayHandle(gateway.clone());
    let address = handle.addresses().await.expect("alive")[0];
    let mut client = TcpStream::connect(address).await.expect("it listens");
    let body = r#"{"model":"smollm2","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
    let request = post("/v1/chat/completions", "", body);
    client.write_all(&request).await.expect("it reads");
    let mut seen = vec![0; 16];
    client.read_exact(&mut seen).await.expect("it has begun");

    let draining = handle.drain(Duration::from_millis(200));
    let watching = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let probe = TcpStream::connect(address)
            .await
            .expect("probes still get in");
        let ready = exchange(probe, "/readyz").await;
        assert_eq!((ready.status, ready.body.contains("draining")), (503, true));
        let mut late = TcpStream::connect(address).await.expect("it answers");
        late.write_all(&request).await.expect("it reads");
        let mut refusal = Vec::new();
        late.read_to_end(&mut refusal).await.expect("it answers");
        assert_eq!(Answer::read(&refusal).status, 503);
    };
    let (left, ()) = tokio::join!(draining, watching);
    assert_eq!(left, Ok(1));
    client.read_to_end(&mut seen).await.expect("it ends");
    let answer = Answer::read(&seen);
    assert!(
        answer
            .events()
            .last()
            .expect("one")
            .contains("\"code\":\"draining\"")
    );
    gateway.stop(None);
}

#[tokio::test]
async fn the_oldest_silent_connection_makes_room_for_the_newest() {
    let limits = Limits {
        connections_max: 2,
        ..Limits::default()
    };
    let mut args = args(&Arc::new(Scripted::default()), limits);
    args.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let (gateway, _) = Actor::spawn(None, Gateway, args).await.expect("free");
    let address = GatewayHandle(gateway.clone())
        .addresses()
        .await
        .expect("alive")[0];
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(address).await.expect("it listens"));
    }
    let honest = TcpStream::connect(address).await.expect("it listens");
    assert_eq!(exchange(honest, "/livez").await.status, 200);
    assert_eq!(silent[0].read(&mut [0; 8]).await.unwrap_or(0), 0, "closed");
    gateway.stop(None);
}

#[tokio::test]
async fn a_connection_that_is_being_served_never_makes_room() {
    use crate::scripted::{Step, post, saying};
    let node = Arc::new(Scripted::default());
    let mut steps = saying(&["Hello"])[..2].to_vec();
    steps.push(Step::Pause(Duration::from_secs(1000)));
    *node.steps.lock().expect("new") = steps;
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let mut args = args(&node, limits);
    args.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let (gateway, _) = Actor::spawn(None, Gateway, args).await.expect("free");
    let handle = GatewayHandle(gateway.clone());
    let address = handle.addresses().await.expect("alive")[0];
    let mut served = TcpStream::connect(address).await.expect("it listens");
    let body = r#"{"model":"smollm2","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
    let request = post("/v1/chat/completions", "", body);
    served.write_all(&request).await.expect("it reads");
    served.read_exact(&mut [0; 16]).await.expect("it has begun");

    let mut newcomer = TcpStream::connect(address).await.expect("it listens");
    let mut told = Vec::new();
    newcomer.read_to_end(&mut told).await.expect("it answers");
    let told = Answer::read(&told);
    assert_eq!(told.status, 503);
    assert_eq!(told.json()["error"]["code"], "overloaded");
    let length = told
        .header("content-length")
        .and_then(|length| length.parse().ok());
    assert_eq!(length, Some(told.body.len()));
    let unread = tokio::time::timeout(Duration::from_millis(50), served.read_u8()).await;
    assert!(
        !matches!(unread, Ok(Err(_))),
        "the served one is still open"
    );
    gateway.stop(None);
}

#[tokio::test]
async fn whoever_is_refused_before_the_body_was_read_reads_the_answer() {
    let mut args = args(&Arc::new(Scripted::default()), Limits::default());
    args.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let (gateway, _) = Actor::spawn(None, Gateway, args).await.expect("free");
    let address = GatewayHandle(gateway.clone())
        .addresses()
        .await
        .expect("alive")[0];
    let body = "x".repeat(6 << 20);
    let chat = "/v1/chat/completions";
    let cases = [
        (chat, "Authorization: Bearer wrong\r\n", 401),
        (chat, "Origin: http://evil.example\r\n", 403),
        (chat, "Content-Encoding: gzip\r\n", 415),
        ("/v1/nothing", "", 404),
        ("/v1/models", "", 405),
    ];
    for (path, headers, status) in cases {
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let request = crate::scripted::post(path, headers, &body);
        client.write_all(&request).await.expect("it is read out");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("no reset");
        assert_eq!(Answer::read(&answer).status, status, "{path}");
    }
    gateway.stop(None);
}

#[tokio::test]
async fn where_a_key_is_required_the_loopback_asks_for_one_too() {
    let mut args = args(&Arc::new(Scripted::default()), Limits::default());
    args.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    args.require_key = true;
    let (gateway, _) = Actor::spawn(None, Gateway, args).await.expect("free");
    let address = GatewayHandle(gateway.clone())
        .addresses()
        .await
        .expect("alive")[0];
    for (path, status) in [("/v1/models", 401), ("/livez", 200)] {
        let tcp = TcpStream::connect(address).await.expect("it listens");
        assert_eq!(exchange(tcp, path).await.status, status);
    }
    gateway.stop(None);
}
