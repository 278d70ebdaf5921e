//! Stories of a troop: who crashes, sleeps, leaves or lies, and what the others make of it.

mod world;

use super::*;
use crate::certificate::RoleSet;
use crate::membership::packet::Packet;
use crate::membership::protocol::{Row, State};
use foca::{Header, Member, Message};
use world::{World, id};

fn long() -> bool {
    std::env::var("TROOP_LONG").is_ok_and(|long| long == "1")
}

#[test]
fn a_crash_is_seen_by_all_of_five_in_less_than_six_seconds() {
    let mut worst = 0;
    for seed in 0..if long() { 200 } else { 12 } {
        let mut world = World::new(5, seed);
        world.loss = if seed % 2 == 0 { 0 } else { 50 };
        world.settle(5_000);
        world.run(10_000 + seed * 137);
        let victim = seed as usize % 5;
        world.crash(victim);
        worst = worst.max(world.settle(6_000));
        for by in (0..5).filter(|by| *by != victim) {
            assert_eq!(world.state(by, victim), Some(State::Dead));
        }
        assert_eq!(world.slandered, [], "seed {seed}");
        // What crashed comes back as itself.
        world.start(victim);
        world.settle(5_000);
    }
    println!("five nodes: a crash is known to all after {worst} ms at most");
}

#[test]
fn a_crash_is_seen_by_all_of_fifty_in_less_than_twenty_seconds() {
    let mut world = World::new(50, 1);
    let joined = world.settle(20_000);
    world.loss = 50;
    world.run(20_000);
    world.crash(17);
    let took = world.settle(20_000);
    assert_eq!(world.slandered, []);
    println!("fifty nodes: all know all after {joined} ms, and a crash after {took} ms");
}

#[test]
fn who_sleeps_for_ten_seconds_is_not_dead_for_good_and_takes_nobody_for_dead() {
    for seed in 0..8 {
        let mut world = World::new(5, seed);
        world.loss = 50;
        world.settle(5_000);
        world.run(5_000);
        let sleeper = seed as usize % 5;
        world.sleep(sleeper, 10_000);
        world.run(10_000);
        let back = world.settle(20_000);
        world.run(10_000);
        assert!(
            world.agrees(),
            "seed {seed}: back after {back} ms, for good"
        );
        let by_sleeper = world.deaths.iter().filter(|(_, by, _)| *by == sleeper);
        assert_eq!(by_sleeper.count(), 0, "seed {seed}");
    }
}

#[test]
fn hardly_anybody_is_slandered_where_a_third_is_lost_and_somebody_always_sleeps() {
    let minutes = if long() { 24 * 60 } else { 4 };
    let mut world = World::new(50, 5);
    world.settle(20_000);
    world.loss = 300;
    // Two or three of fifty sleep at any time.
    for round in 0..minutes * 15 {
        if world.machines.iter().all(|it| it.sleeps_until.is_none()) || round % 2 == 0 {
            world.sleep((round * 7) % 50, 10_000);
        }
        world.run(4_000);
    }
    let slandered = world.slandered.len();
    println!("fifty nodes, 30 % loss, 5 % asleep: {slandered} slandered in {minutes} minutes");
    assert!(slandered <= 1, "{:?}", world.slandered);
}

#[test]
fn two_halves_that_were_apart_for_ten_minutes_are_one_within_a_minute() {
    for machines in [5, 20] {
        let mut world = World::new(machines, 3);
        world.settle(10_000);
        world.cut = |one, other| (one % 2) != (other % 2);
        world.run(600_000);
        assert_eq!(world.state(0, 1), Some(State::Dead));
        assert_eq!(world.state(0, 2), Some(State::Alive));
        world.cut = |_, _| false;
        let healed = world.settle(60_000);
        println!("{machines} nodes: whole {healed} ms after ten minutes apart");
    }
}

#[test]
fn who_has_left_is_not_brought_back_by_those_who_did_not_hear_it() {
    let mut world = World::new(5, 9);
    world.settle(5_000);
    world.run(5_000);
    // Machine 3 sleeps through the farewell, and speaks of 4 as alive when it wakes.
    world.sleep(3, 1_200);
    world.stop(4);
    world.run(200);
    assert_eq!(world.state(0, 4), Some(State::Left));
    for _ in 0..600 {
        world.run(100);
        for by in 0..3 {
            assert_eq!(world.state(by, 4), Some(State::Left));
        }
    }
    assert_ne!(world.state(3, 4), Some(State::Alive));
    // A later life that others speak of is asked itself before it counts; nobody answers.
    let rumour = Identity::bare(id(4), world.now.0);
    gossip(&mut world, 1, 0, vec![Member::alive(rumour)]);
    world.run(20_000);
    assert_eq!(world.state(0, 4), Some(State::Left));
    // It comes back itself.
    world.start(4);
    world.settle(10_000);
}

#[test]
fn who_starts_again_with_a_clock_that_is_behind_is_let_in_all_the_same() {
    let mut world = World::new(4, 2);
    world.settle(5_000);
    for crashed in [true, false] {
        match crashed {
            true => world.crash(2),
            false => world.stop(2),
        }
        world.settle(8_000);
        world.machines[2].clock_behind = 3_600_000;
        world.start(2);
        world.settle(10_000);
        world.machines[2].clock_behind = 0;
    }
}

#[test]
fn who_is_put_out_stays_out_everywhere() {
    let mut world = World::new(4, 4);
    world.settle(5_000);
    world.input(0, Input::PutOut { node: id(3) });
    assert_eq!(world.state(0, 3), Some(State::PutOut));
    world.run(60_000);
    for by in 0..3 {
        assert_eq!(world.state(by, 3), Some(State::PutOut));
        assert!(world.lines(by).iter().all(|line| line.node != id(3)));
    }
    world.crash(3);
    world.start(3);
    world.run(30_000);
    assert_eq!(world.state(1, 3), Some(State::PutOut));
}

#[test]
fn a_node_that_is_cut_off_holds_only_so_many_dead_in_ten_seconds() {
    let mut world = World::new(20, 6);
    world.settle(10_000);
    world.deaths.clear();
    world.cut = |one, other| one == 7 || other == 7;
    world.run(60_000);
    let by = |who| world.deaths.iter().filter(move |(_, by, _)| *by == who);
    let times: Vec<u64> = by(7).map(|(at, _, _)| at.0).collect();
    for start in &times {
        let within = |at: &&u64| (*start..*start + 9_900).contains(*at);
        let count = times.iter().filter(within).count();
        assert!(count <= pace::evictions_max(19), "{count} in ten seconds");
    }
    assert!(times.len() > 5, "in the end it takes them for dead");
    world.cut = |_, _| false;
    world.settle(60_000);
}

/// A packet of machine `from` with these updates, as if it had come to `to`.
fn gossip(world: &mut World, from: usize, to: usize, updates: Vec<Member<Identity>>) {
    let incarnation = |by: usize, about: usize| {
        let lines = world.lines(by);
        let line = lines.into_iter().find(|line| line.node == id(about));
        line.expect("it is known").card.incarnation
    };
    let header = Header {
        src: Identity::bare(id(from), incarnation(from, from)),
        src_incarnation: 0,
        dst: Identity::bare(id(to), incarnation(to, to)),
        message: Message::Gossip,
    };
    let bytes = Datagram::Gossip(Packet { header, updates }.write()).write();
    let from = id(from);
    world.input(to, Input::Datagram { from, bytes });
}

#[test]
fn what_a_member_says_of_others_is_not_believed_against_what_is_seen() {
    let mut world = World::new(3, 8);
    world.settle(5_000);
    world.run(3_000);
    let life = world.lines(0).into_iter().find(|line| line.node == id(2));
    let life = life.expect("it is known").card.incarnation;
    // That somebody is dead who was heard a moment ago.
    gossip(
        &mut world,
        1,
        0,
        vec![Member::down(Identity::bare(id(2), life))],
    );
    assert_eq!(world.state(0, 2), Some(State::Alive));
    // That there is somebody whom nobody here has met.
    gossip(
        &mut world,
        1,
        0,
        vec![Member::alive(Identity::bare(NodeId([9; 32]), 5))],
    );
    let known = |world: &World| world.lines(0).iter().any(|line| line.node.0 == [9; 32]);
    assert!(!known(&world));
    // That a life of somebody begins far in the future, which would shut out the true one.
    let ahead = world.now.0 + 2 * pace::AHEAD_MS;
    gossip(
        &mut world,
        1,
        0,
        vec![Member::alive(Identity::bare(id(2), ahead))],
    );
    let found = world.lines(0).into_iter().find(|line| line.node == id(2));
    assert_eq!(found.expect("it is known").card.incarnation, life);
    // That it is somebody else who speaks.
    let forged = Packet {
        header: Header {
            src: Identity::bare(id(2), life + 9),
            src_incarnation: 0,
            dst: Identity::bare(id(0), 0),
            message: Message::Announce,
        },
        updates: Vec::new(),
    };
    let bytes = Datagram::Gossip(forged.write()).write();
    let from = id(1);
    world.input(0, Input::Datagram { from, bytes });
    let found = world.lines(0).into_iter().find(|line| line.node == id(2));
    assert_eq!(found.expect("it is known").card.incarnation, life);
    // Of others only the coordinator says who was put out; of a name, only a certificate or it.
    let row = |state, name: &str| Row {
        node: id(2),
        card: Card {
            incarnation: life,
            roles: RoleSet::CLIENT,
            name: name.to_owned(),
            addresses: Vec::new(),
        },
        refutations: 0,
        state,
    };
    let from = id(1);
    let card = world.lines(1)[0].card.clone();
    let rows = vec![row(State::PutOut, "villain"), row(State::Alive, "villain")];
    let answer = Some((card, rows));
    world.input(0, Input::Answered { from, answer });
    assert_eq!(world.state(0, 2), Some(State::Alive));
    let found = world.lines(0).into_iter().find(|line| line.node == id(2));
    assert_eq!(found.expect("it is known").card.name, "n2");
    world.settle(5_000);
}

#[test]
fn any_bytes_at_all_are_borne() {
    let mut world = World::new(3, 11);
    world.settle(5_000);
    let mut dice = Dice(12);
    let packet = |world: &World, dice: &mut Dice| {
        let life = |about: usize| world.lines(about)[0].card.incarnation;
        let header = Header {
            src: Identity::bare(id(1), life(1)),
            src_incarnation: 0,
            dst: Identity::bare(id(0), life(0)),
            message: Message::Ping(dice.roll() as u8),
        };
        let updates = vec![Member::suspect_or_so(dice, life(2)); 3];
        Datagram::Gossip(Packet { header, updates }.write()).write()
    };
    for _ in 0..if long() { 200_000 } else { 4_000 } {
        let mut bytes = packet(&world, &mut dice);
        for _ in 0..dice.roll() % 4 {
            let at = dice.roll() as usize % bytes.len();
            bytes[at] = dice.roll() as u8;
        }
        bytes.truncate(bytes.len() - (dice.roll() % 3) as usize);
        let from = id(1);
        world.input(0, Input::Datagram { from, bytes });
    }
    world.settle(60_000);
}

trait Strange {
    fn suspect_or_so(dice: &mut Dice, life: u64) -> Self;
}

impl Strange for Member<Identity> {
    fn suspect_or_so(dice: &mut Dice, life: u64) -> Member<Identity> {
        let states = [foca::State::Alive, foca::State::Suspect, foca::State::Down];
        let state = states[dice.roll() as usize % 3];
        let about = dice.roll() as usize % 4;
        let life = life.wrapping_add(dice.roll() % 3).wrapping_sub(1);
        Member::new(Identity::bare(id(about), life), dice.roll() as u16, state)
    }
}
