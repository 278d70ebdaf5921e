//! Whether this node can serve, for probes: no key, no secrets.

use crate::backend::Check;
use crate::gateway::shared::{Phase, Shared};
use crate::reply::{Reply, json, text};
use hyper::body::Incoming;
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode};
use serde::Serialize;
use std::fmt::Write as _;
use tokio::time::timeout;

#[derive(Serialize)]
struct Ready<'a> {
    status: &'static str,
    checks: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    ok: bool,
    detail: &'a str,
}

/// All checks of this node, its gateway's own first.
pub(crate) async fn checks(shared: &Shared) -> Vec<Check> {
    let open = *shared.phase.borrow() == Phase::Open;
    let mut checks = vec![Check {
        name: "gateway",
        ok: open,
        detail: if open { "serving" } else { "draining" }.to_owned(),
    }];
    match timeout(shared.limits.call_max, shared.backend.checks()).await {
        Ok(more) => checks.extend(more),
        Err(_) => checks.push(Check {
            name: "node",
            ok: false,
            detail: "does not answer".to_owned(),
        }),
    }
    checks
}

/// 200 if all is well, else 503 with what is not.
pub(crate) async fn ready(request: &Request<Incoming>, shared: &Shared) -> Reply {
    let checks = checks(shared).await;
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let wants_json = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if wants_json {
        let lines = checks.iter().map(|check| Line {
            name: check.name,
            ok: check.ok,
            detail: &check.detail,
        });
        let word = if ready { "ok" } else { "not ready" };
        return json(
            status,
            &Ready {
                status: word,
                checks: lines.collect(),
            },
        );
    }
    let verbose = request
        .uri()
        .query()
        .is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let mut body = String::from(if ready { "ok\n" } else { "not ready\n" });
    for check in checks.iter().filter(|check| verbose || !check.ok) {
        let mark = if check.ok { '+' } else { '-' };
        let _ = writeln!(body, "[{mark}] {}: {}", check.name, check.detail);
    }
    text(status, body)
}
