//! A problem in OpenAI's words.
//!
//! All four members of `error` are always there, since the SDKs' types require them, and `code` is a string
//! or null, never a number. The SDKs try 408, 409, 429 and every 5xx again by themselves, so an answer that
//! cannot change says `x-should-retry: false`.

use crate::problem::{Problem, Retry};
use crate::reply::{Reply, json};
use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

/// `{"error": {…}}`.
#[derive(Serialize)]
pub struct ErrorBody<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: Option<&'static str>,
}

impl<'a> ErrorBody<'a> {
    /// The body for `problem`.
    pub fn of(problem: &'a Problem) -> ErrorBody<'a> {
        ErrorBody {
            error: Inner {
                message: &problem.message,
                r#type: kind(problem),
                param: problem.param.as_deref(),
                code: problem.code,
            },
        }
    }
}

/// The whole response for `problem`.
pub(crate) fn response(problem: &Problem) -> Reply {
    let mut reply = json(problem.status, &ErrorBody::of(problem));
    let headers = reply.headers_mut();
    match problem.retry {
        Retry::Unsaid => {}
        Retry::Never => {
            headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        Retry::After(ms) => {
            headers.insert(RETRY_AFTER, ms.div_ceil(1000).max(1).into());
            headers.insert(RETRY_AFTER_MS, ms.into());
        }
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(allow) = problem.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if problem.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

fn kind(problem: &Problem) -> &'static str {
    match problem.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        408 => "timeout_error",
        409 => "conflict_error",
        429 if problem.code == Some("insufficient_quota") => "insufficient_quota",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
