//! Joining, with a coordinator that is played.

use super::*;
use std::os::unix::fs::PermissionsExt;
use troop_actors::certificate::LIFETIME_MS;
use troop_actors::ids::{MemberId, NodeKey};
use troop_actors::invitation::Secret;

const ME: NodeId = NodeId([2; 32]);
const NOW: Time = Time(1_000_000_000);

fn coordinator() -> NodeKey {
    NodeKey::from_secret([1; 32])
}

fn invitation() -> Invitation {
    Invitation {
        coordinator: coordinator().node(),
        addresses: vec!["192.168.1.20:9001".parse().unwrap()],
        secret: Secret([5; 16]),
    }
}

fn wish() -> Wish {
    Wish {
        me: ME,
        roles: RoleSet::CLIENT,
        name: "box".to_owned(),
    }
}

fn signed(change: fn(&mut Certificate)) -> Vec<u8> {
    let mut certificate = Certificate {
        troop: coordinator().node(),
        node: ME,
        member: MemberId([3; 16]),
        roles: RoleSet::CLIENT,
        name: "box".to_owned(),
        inviter: MemberId([4; 16]),
        serial: 1,
        issued: NOW,
        expires: NOW.plus_ms(LIFETIME_MS),
    };
    change(&mut certificate);
    certificate.sign(&coordinator())
}

fn enrolment() -> Enrolment {
    Enrolment {
        troop: coordinator().node(),
        addresses: invitation().addresses,
        certificate: signed(|_| {}),
    }
}

async fn joined(answer: Answer) -> Result<Enrolment, JoinError> {
    join(&invitation(), None, &wish(), NOW, async |question| {
        let secret = Secret([5; 16]);
        let (roles, name) = (RoleSet::CLIENT, "box".to_owned());
        let expected = Question::Join {
            secret,
            roles,
            name,
        };
        assert_eq!(question, expected);
        Ok(answer)
    })
    .await
}

#[tokio::test]
async fn whoever_is_let_in_keeps_what_was_signed_for_it_and_nothing_else() {
    let certificate = signed(|_| {});
    assert_eq!(
        joined(Answer::Joined { certificate }).await,
        Ok(enrolment())
    );
    let wrong: [fn(&mut Certificate); 3] = [
        |c| c.node = NodeId([9; 32]),
        |c| c.roles = RoleSet::WORKER,
        |c| c.expires = NOW,
    ];
    for change in wrong {
        let certificate = signed(change);
        assert!(joined(Answer::Joined { certificate }).await.is_err());
    }
    let forged = Answer::Joined {
        certificate: vec![0; 200],
    };
    assert!(matches!(
        joined(forged).await,
        Err(JoinError::Certificate(_))
    ));
    let refusal = JoinRefusal::UsedUp { uses: 1 };
    let refused = joined(Answer::JoinRefused {
        refusal: refusal.clone(),
    });
    assert_eq!(refused.await, Err(JoinError::Refused(refusal)));
    assert_eq!(joined(Answer::Pong).await, Err(JoinError::Answer));
}

#[tokio::test]
async fn a_second_troop_is_refused_and_the_same_one_is_not_asked_again() {
    let never = async |_| panic!("nobody is asked");
    let mut elsewhere = enrolment();
    elsewhere.troop = NodeId([7; 32]);
    let joined = join(&invitation(), Some(elsewhere), &wish(), NOW, never).await;
    let troop = NodeId([7; 32]);
    assert_eq!(joined, Err(JoinError::Another { troop }));

    let never = async |_| panic!("nobody is asked");
    let mut moved = invitation();
    moved.addresses = vec!["10.0.0.1:9001".parse().unwrap()];
    let joined = join(&moved, Some(enrolment()), &wish(), NOW, never).await;
    let addresses = moved.addresses;
    assert_eq!(
        joined,
        Ok(Enrolment {
            addresses,
            ..enrolment()
        })
    );

    // Other roles than it has, or a certificate that is over: that is asked for.
    let mut more = wish();
    more.roles = RoleSet::WORKER;
    for (wish, now) in [(more, NOW), (wish(), NOW.plus_ms(LIFETIME_MS))] {
        let refusal = JoinRefusal::Revoked;
        let answer = async |_| Ok(Answer::JoinRefused { refusal });
        let joined = join(&invitation(), Some(enrolment()), &wish, now, answer).await;
        assert_eq!(joined, Err(JoinError::Refused(JoinRefusal::Revoked)));
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_when_it_is_time() {
    let never = async |_| panic!("nobody is asked");
    assert_eq!(renew(&enrolment(), ME, NOW, never).await, Ok(None));
    let late = NOW.plus_ms(LIFETIME_MS - 1);
    let certificate = signed(|c| c.expires = NOW.plus_ms(2 * LIFETIME_MS));
    let answer = async |question| {
        assert_eq!(question, Question::Renew);
        Ok(Answer::Joined { certificate })
    };
    let renewed = renew(&enrolment(), ME, late, answer).await.unwrap();
    let expires = renewed.unwrap().verify(ME, late).unwrap().expires;
    assert_eq!(expires, NOW.plus_ms(2 * LIFETIME_MS));
    // The coordinator gives what is there already.
    let same = async |_| {
        Ok(Answer::Joined {
            certificate: signed(|_| {}),
        })
    };
    assert_eq!(renew(&enrolment(), ME, late, same).await, Ok(None));
    let gone = async |_| Err(RemoteError::TimedOut { node: ME });
    assert!(matches!(
        renew(&enrolment(), ME, late, gone).await,
        Err(JoinError::Unanswered(_))
    ));
}

#[test]
fn an_enrolment_is_kept_for_its_owner_alone_and_forgotten_on_request() {
    let folder = std::env::temp_dir().join(format!("troop-enrolment-{}", std::process::id()));
    let home = Home::find(Some(folder.clone())).unwrap();
    home.make().unwrap();
    assert_eq!(Enrolment::load(&home).unwrap(), None);
    enrolment().save(&home).unwrap();
    assert_eq!(Enrolment::load(&home).unwrap(), Some(enrolment()));
    let path = home.path(FILE);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let good = fs::read_to_string(&path).unwrap();
    let damaged = [
        String::new(),
        "{}".to_owned(),
        good[..good.len() / 2].to_owned(),
        good.replace("membership/v1", "membership/v2"),
        good.replace(":9001", ":0"),
        good.replacen(&enrolment().troop.to_string()[..4], "zz", 1),
        " ".repeat(20_000),
    ];
    for text in damaged {
        fs::write(&path, &text).unwrap();
        let error = Enrolment::load(&home).unwrap_err();
        assert!(matches!(error, EnrolmentError::Malformed { .. }), "{text}");
    }
    assert!(Enrolment::forget(&home).unwrap());
    assert!(!Enrolment::forget(&home).unwrap());
    assert_eq!(Enrolment::load(&home).unwrap(), None);
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_node_that_runs_keeps_its_enrolment_good() {
    struct Late;

    impl Clock for Late {
        fn now(&self) -> Time {
            NOW.plus_ms(LIFETIME_MS / 4 * 3)
        }
    }

    let ask = async |question| {
        assert_eq!(question, Question::Renew);
        let certificate = signed(|it| it.expires = it.expires.plus_ms(LIFETIME_MS));
        Ok(Answer::Joined { certificate })
    };
    let mut kept = Vec::new();
    let keep = |enrolment: &Enrolment| kept.push(enrolment.clone());
    let keeping = keep_good(enrolment(), ME, Arc::new(Late), ask, keep);
    let never = tokio::time::timeout(Duration::from_millis(200), keeping).await;
    assert!(never.is_err(), "it goes on as long as the node does");
    assert_eq!(kept.len(), 1);
    assert_ne!(kept[0].certificate, enrolment().certificate);
}
