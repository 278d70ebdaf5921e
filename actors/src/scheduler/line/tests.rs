//! The line against floods, and against a reckoning of its own promises.

use super::*;
use proptest::prelude::*;

/// A line, and all that happened in it.
#[derive(Default)]
struct Desk {
    line: Line,
    waiting: BTreeMap<RequestId, Asked>,
    log: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Asked {
    member: MemberId,
    weight: u32,
    cost: u64,
    turn: Turn,
    /// The place of its coming in the log.
    came: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Came(MemberId),
    Served(Asked),
}

fn member(id: u8) -> MemberId {
    MemberId([id; 16])
}

impl Desk {
    fn ask(&mut self, id: u8, weight: u32, cost: u64) {
        let member = member(id);
        let weighs = Weight(NonZeroU32::new(weight).expect("nobody weighs nothing"));
        let turn = self.line.turn(member, weighs, cost);
        let came = self.log.len();
        let request = RequestId((came as u128).to_be_bytes());
        self.line.enter(member, turn, request);
        let asked = Asked {
            member,
            weight,
            cost,
            turn,
            came,
        };
        self.waiting.insert(request, asked);
        self.log.push(Event::Came(member));
        self.line.check();
    }

    fn serve(&mut self) -> Option<Asked> {
        let request = self.line.order().next()?;
        let asked = self.waiting.remove(&request).expect("it waits");
        self.line.serve(asked.member, asked.turn, request);
        self.log.push(Event::Served(asked));
        self.line.check();
        Some(asked)
    }

    fn served(&mut self, count: usize) -> Vec<Asked> {
        (0..count).filter_map(|_| self.serve()).collect()
    }
}

#[test]
fn a_member_who_floods_delays_only_itself() {
    // Given a member with forty requests in the line,
    let mut desk = Desk::default();
    (0..40).for_each(|_| desk.ask(1, 1, 100));
    // when one is served and another member comes with three,
    assert_eq!(desk.served(1)[0].member, member(1));
    (0..3).for_each(|_| desk.ask(2, 1, 100));
    // then they are served by turns, the one who had nothing first, and each member the same tokens.
    let served = desk.served(6);
    assert_eq!(served[0].member, member(2));
    let quiet = served.iter().filter(|asked| asked.member == member(2));
    assert_eq!(quiet.count(), 3);
    assert_eq!(desk.line.waiting_of(member(2)), 0);
    assert_eq!(desk.line.waiting(), 36);
}

#[test]
fn tokens_are_shared_and_not_requests_and_by_weight() {
    for (weight, share) in [(1, 1), (3, 3)] {
        let mut desk = Desk::default();
        for _ in 0..40 {
            desk.ask(1, weight, 400);
            desk.ask(2, 1, 100);
        }
        let tokens = |served: &[Asked], id| {
            let own = served.iter().filter(|asked| asked.member == member(id));
            own.map(|asked| asked.cost).sum::<u64>()
        };
        let served = desk.served(20);
        let (large, small) = (tokens(&served, 1), tokens(&served, 2));
        assert!(
            large.abs_diff(share * small) <= 400 + 300,
            "{large} {small}"
        );
    }
}

#[test]
fn no_request_is_so_large_that_its_member_ends_virtual_time_for_others() {
    let mut desk = Desk::default();
    (0..3).for_each(|_| desk.ask(1, 1, u64::MAX));
    desk.served(2);
    desk.ask(2, 1, 100);
    desk.ask(2, 1, 100);
    desk.ask(3, 1, 100);
    let order: Vec<MemberId> = desk.served(3).iter().map(|asked| asked.member).collect();
    assert_eq!(order, [2, 3, 2].map(member));
}

/// Something that happens to a line.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Ask(u8, u64),
    Serve,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    // The first member floods, the others ask now and then.
    let ask = (prop_oneof![3 => Just(0u8), 1 => 1u8..4], 1u64..500);
    let deed = prop_oneof![
        1 => ask.prop_map(|(id, cost)| Deed::Ask(id, cost)),
        1 => Just(Deed::Serve),
    ];
    proptest::collection::vec(deed, 0..200)
}

/// What is waiting of each member at each place of the log, reckoned from the log alone.
fn waiting_before(log: &[Event], at: usize, member: MemberId) -> i64 {
    let count = |event: &Event| match event {
        Event::Came(came) => i64::from(*came == member),
        Event::Served(asked) => -i64::from(asked.member == member),
    };
    log[..at].iter().map(count).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_the_line_promises_holds_for_all_who_come(
        deeds in deeds(),
        weights in proptest::array::uniform4(1u32..4),
    ) {
        let mut desk = Desk::default();
        for deed in deeds {
            match deed {
                Deed::Ask(id, cost) => desk.ask(id, weights[id as usize], cost),
                Deed::Serve => drop(desk.serve()),
            }
        }
        while desk.serve().is_some() {}
        let log = &desk.log;
        let members: Vec<MemberId> = (0..4).map(member).collect();
        let served = |from: usize, to: usize, member: MemberId| {
            log[from..to].iter().filter_map(move |event| match event {
                Event::Served(asked) if asked.member == member => Some(*asked),
                _ => None,
            })
        };
        // Q1: in order of their coming.
        for member in &members {
            let own: Vec<usize> = served(0, log.len(), *member).map(|asked| asked.came).collect();
            prop_assert!(own.is_sorted());
        }
        // Q2: who had nothing waiting, and has not had more than its share.
        for (at, event) in log.iter().enumerate() {
            let Event::Served(asked) = event else { continue };
            let all = members.iter().flat_map(|it| served(0, asked.came, *it));
            let now = all.map(|it| it.turn.starts).max().unwrap_or(0);
            let own = served(0, asked.came, asked.member).next_back();
            let charge = |it: &Asked| it.cost.div_ceil(it.weight.into());
            let light = waiting_before(log, asked.came, asked.member) == 0
                && own.is_none_or(|own| own.turn.starts + charge(&own) <= now);
            if light {
                for other in members.iter().filter(|other| **other != asked.member) {
                    prop_assert!(served(asked.came, at, *other).count() <= 1);
                }
            }
        }
        // Q3: while both wait, of all stretches of time.
        for from in 0..log.len() {
            let mut to = from;
            let both = |at: usize| {
                [0, 1].iter().all(|id| waiting_before(log, at, member(*id)) > 0)
            };
            while to < log.len() && both(to) {
                to += 1;
            }
            let share = |id: u8| {
                let weight = u64::from(weights[id as usize]);
                served(from, to, member(id)).map(|asked| asked.cost.div_ceil(weight)).sum::<u64>()
            };
            let largest = |id: u8| 500u64.div_ceil(weights[id as usize].into());
            prop_assert!(share(0).abs_diff(share(1)) <= largest(0) + largest(1));
        }
    }
}
