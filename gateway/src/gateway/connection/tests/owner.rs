//! The owner's routes.

use crate::limits::Limits;
use crate::scripted::*;

#[tokio::test(start_paused = true)]
async fn the_owner_has_routes_of_its_own() {
    let mut house = House::new(Limits::default()).await;
    let gift = r#"{"member":"ann","credits":1,"id":"a"}"#;
    let cases = [
        (ask("GET", "/v1/troop/status", ""), 200, "troop.status/v1"),
        (ask("GET", "/v1/troop/ps", ""), 200, "troop.ps/v1"),
        (
            ask("GET", "/v1/troop/balance?member=ann", ""),
            200,
            "troop.balance/v1",
        ),
        (
            ask("GET", "/v1/troop/accounts", ""),
            200,
            "troop.accounts/v1",
        ),
        (ask("GET", "/v1/troop/keys", ""), 200, "troop.keys/v1"),
        (
            ask("DELETE", "/v1/troop/keys/troop-ab", ""),
            200,
            "troop.key.revoked/v1",
        ),
        (
            post("/v1/troop/keys", "", r#"{"member":"ann"}"#),
            201,
            "troop.key.created/v1",
        ),
        (post("/v1/troop/credits", "", gift), 200, "troop.credit/v1"),
        (
            post("/v1/troop/models/load", "", r#"{"model":"x"}"#),
            202,
            "troop.model.load/v1",
        ),
        (ask("GET", "/v1/troop/invites", ""), 200, "troop.invites/v1"),
        (
            post("/v1/troop/invites", "", r#"{"uses":2}"#),
            201,
            "troop.invite.created/v1",
        ),
        (
            ask("DELETE", "/v1/troop/invites/0123", ""),
            200,
            "troop.invite.revoked/v1",
        ),
        (ask("GET", "/v1/troop/members", ""), 200, "troop.members/v1"),
        (post("/v1/troop/drain", "", ""), 202, "troop.drain/v1"),
    ];
    for (request, status, schema) in cases {
        let answer = exchange(house.connect(true, true), &request).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json()["schema"], schema);
    }
    house.shared.stop.notified().await;
    let refused = [
        (ask("POST", "/v1/troop/status", ""), 405),
        (ask("GET", "/v1/troop/nothing", ""), 404),
        (ask("DELETE", "/v1/troop/keys/", ""), 404),
        (ask("DELETE", "/v1/troop/members/", ""), 404),
        (ask("GET", "/v1/troop/members/bo", ""), 405),
        (ask("DELETE", "/v1/troop/members/bo", ""), 503),
        (post("/v1/troop/members", "", "{}"), 405),
        (post("/v1/troop/invites", "", r#"{"use":2}"#), 400),
        (post("/v1/troop/keys", "", r#"{"member":3}"#), 400),
        (post("/v1/troop/keys", "", "{}"), 400),
        (ask("GET", "/v1/troop/ledger/verify", ""), 503),
    ];
    for (request, status) in refused {
        let answer = exchange(house.connect(true, true), &request).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}
