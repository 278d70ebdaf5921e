//! More than there is room for, of one member and of many.

use super::*;

#[test]
fn a_flood_of_one_member_is_told_busy_and_leaves_room_for_others() {
    let mut desk = Desk::new(&[1]);
    let mut busy = 0;
    for id in 0..200 {
        match &refusals(&desk.admit(admit(id)))[..] {
            [] => assert_eq!(busy, 0, "once busy, busy until somebody leaves"),
            [
                (
                    _,
                    Refusal::Busy {
                        waiting,
                        retry_after_ms,
                    },
                ),
            ] => {
                assert!(*waiting == 64 && (1_000..=60_000).contains(retry_after_ms));
                busy += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((busy, desk.queue.stats().counts.busy), (135, 135));
    // Another member still finds room, and does not wait behind the flood.
    let other = Admit {
        payer: MemberId([5; 16]),
        ..admit(250)
    };
    assert_eq!(refusals(&desk.admit(other)), []);
    desk.held(0);
    assert_eq!(holds(&desk.finished(0)), [(request(250), worker(0))]);
    desk.held(250);
    assert_eq!(holds(&desk.finished(250)), [(request(1), worker(0))]);
}

#[test]
fn no_number_of_members_makes_the_line_longer_than_its_limit() {
    let mut desk = Desk::new(&[1]);
    for id in 0..=255 {
        for member in 0..4 {
            let mut request = [id; 16];
            request[0] = member;
            let payer = MemberId([member; 16]);
            let request = RequestId(request);
            desk.admit(Admit {
                request,
                payer,
                ..admit(0)
            });
        }
    }
    assert!(desk.queue.stats().waiting <= 128);
    assert!(
        desk.queue.stats().waiting >= 100,
        "four floods share most of the line"
    );
}

#[test]
fn beside_a_flood_a_light_user_gets_the_place_that_is_free_next() {
    // Given four places, all taken by one who has as many waiting as may be, of all sizes,
    let mut desk = Desk::new(&[2, 2]);
    for id in 0..60 {
        desk.admit(Admit {
            tokens_max: 1 + u32::from(id) * 31 % 2_000,
            ..admit(id)
        });
        desk.held(id);
    }
    // then each time another one asks, it is served when the first of them ends, whichever that is.
    let mut running = vec![0, 1, 2, 3];
    for (round, first) in [3, 1, 0, 2, 1, 1].into_iter().enumerate() {
        let light = 100 + round as u8;
        let out = desk.admit(Admit {
            payer: MemberId([5; 16]),
            tokens_max: 1,
            ..admit(light)
        });
        assert_eq!(holds(&out), []);
        let ends = running.remove(first);
        let next = holds(&desk.finished(ends));
        let [(next, _)] = next[..] else {
            panic!("{next:?}");
        };
        assert_eq!(next, request(light));
        desk.held(light);
        // It goes, and the flood goes on.
        let next = holds(&desk.finished(light));
        let [(RequestId(id), _)] = next[..] else {
            panic!("{next:?}");
        };
        desk.held(id[0]);
        running.push(id[0]);
    }
}
