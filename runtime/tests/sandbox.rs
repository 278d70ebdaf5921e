//! The sandbox, from inside: this test starts itself again as the process that shuts its own doors.

#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;

#[test]
fn a_sandboxed_process_computes_and_opens_nothing() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    // Everything tried below works out here, so a failure in there is the sandbox's doing.
    let tried = attempts();
    for (name, outcome) in &tried {
        if *name != "execute new memory" {
            assert!(outcome.is_ok(), "{name} outside: {outcome:?}");
        }
    }
    let itself = std::env::current_exe().expect("a test knows its own program");
    let output = Command::new(itself)
        .args([
            "--exact",
            "a_sandboxed_process_computes_and_opens_nothing",
            "--nocapture",
        ])
        .env(INSIDE, "1")
        .output()
        .expect("it starts again");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (name, _) in &tried {
        assert!(said.contains(&format!("{name}: denied")), "{name}: {said}");
    }
    assert!(said.contains("threads: 4950"), "{said}");
    assert!(said.contains("memory: bounded"), "{said}");
}

fn inside() {
    troop::engine_child::sandbox::enter(MEMORY_BYTES).expect("this system has a sandbox");
    for (name, outcome) in attempts() {
        match outcome {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => println!("{name}: denied"),
            other => println!("{name}: {other:?}"),
        }
    }
    let threads: Vec<_> = (0..100u64).map(|n| std::thread::spawn(move || n)).collect();
    let sum: u64 = threads
        .into_iter()
        .map(|thread| thread.join().expect("it computes"))
        .sum();
    println!("threads: {sum}");
    let mut memory: Vec<u8> = Vec::new();
    assert!(memory.try_reserve_exact(MEMORY_BYTES as usize / 2).is_ok());
    assert!(memory.try_reserve_exact(MEMORY_BYTES as usize).is_err());
    println!("memory: bounded");
}

fn attempts() -> Vec<(&'static str, io::Result<()>)> {
    let in_a_thread = std::thread::spawn(|| std::fs::read("/proc/self/status").map(drop));
    vec![
        ("open a file", std::fs::read("/proc/self/status").map(drop)),
        (
            "open a file in a new thread",
            in_a_thread.join().expect("a thread starts"),
        ),
        ("list a directory", std::fs::read_dir("/").map(drop)),
        (
            "open a TCP socket",
            TcpListener::bind("127.0.0.1:0").map(drop),
        ),
        (
            "open a UDP socket",
            UdpSocket::bind("127.0.0.1:0").map(drop),
        ),
        ("open a unix socket", UnixStream::pair().map(drop)),
        (
            "start a program",
            Command::new("/bin/true").status().map(drop),
        ),
        ("execute new memory", executable()),
    ]
}

fn executable() -> io::Result<()> {
    let access = libc::PROT_READ | libc::PROT_EXEC;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh anonymous mapping, never touched.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// What the process inside may map: 100 threads reserve some of it.
const MEMORY_BYTES: u64 = 16 << 30;
const INSIDE: &str = "TROOP_TEST_INSIDE_SANDBOX";
