use proptest::prelude::*;

use super::*;

const WAIT: Duration = Duration::from_secs(30);

fn order(given: u64) -> ClientOrder<u64> {
    ClientOrder::new(given, BufferBudget::new(1_000, 1 << 20), WAIT)
}

fn numbers(ready: Vec<Numbered<u64>>) -> Vec<u64> {
    ready.into_iter().map(|item| item.number).collect()
}

fn ready(arrival: Arrival<u64>) -> Vec<u64> {
    match arrival {
        Arrival::Ready(ready) => numbers(ready),
        other => panic!("{other:?}"),
    }
}

fn arrive(order: &mut ClientOrder<u64>, number: u64, now: Instant) -> Arrival<u64> {
    order.arrive(number, 1, number, now)
}

#[test]
fn the_first_number_is_the_start_when_not_above_the_given() {
    let now = Instant::now();
    for start in [0, 1, 7, 42] {
        let mut order = order(42);
        assert_eq!(ready(arrive(&mut order, start, now)), [start]);
        assert_eq!(order.expected(), start + 1);
    }
    let mut order = order(42);
    assert_eq!(arrive(&mut order, 43, now), Arrival::Ahead { expected: 42 });
}

#[test]
fn a_gap_that_closes_hands_out_everything_in_order() {
    let now = Instant::now();
    let mut order = order(1);
    assert_eq!(arrive(&mut order, 3, now), Arrival::Ahead { expected: 1 });
    assert_eq!(arrive(&mut order, 2, now), Arrival::Ahead { expected: 1 });
    assert_eq!(arrive(&mut order, 2, now), Arrival::Duplicate);
    assert_eq!(order.budget.messages(), 2);
    assert_eq!(ready(arrive(&mut order, 1, now)), [1, 2, 3]);
    assert_eq!(arrive(&mut order, 3, now), Arrival::Duplicate);
    assert_eq!(order.budget.messages(), 0);
}

#[test]
fn what_waited_long_enough_goes_without_the_missing() {
    let now = Instant::now();
    let mut order = order(1);
    arrive(&mut order, 3, now);
    arrive(&mut order, 6, now + Duration::from_secs(10));
    assert_eq!(order.deadline(), Some(now + WAIT));
    assert!(order.expire(now + WAIT - Duration::from_millis(1)).is_empty());
    assert_eq!(numbers(order.expire(now + WAIT)), [3]);
    assert_eq!(order.expected(), 4);
    assert_eq!(order.deadline(), Some(now + Duration::from_secs(10) + WAIT));
    assert_eq!(arrive(&mut order, 2, now), Arrival::Duplicate);
    assert_eq!(numbers(order.expire(now + Duration::from_secs(40))), [6]);
    assert_eq!(order.deadline(), None);
}

#[test]
fn causality_knows_what_was_given_up_on() {
    let now = Instant::now();
    let mut order = order(1);
    assert!(!order.processed(1, None));
    arrive(&mut order, 1, now);
    assert!(order.processed(1, None));
    arrive(&mut order, 3, now);
    assert!(!order.processed(3, None));
    order.flush();
    assert!(order.processed(3, None));
    assert!(!order.processed(2, None), "2 never came");
    assert!(!order.processed(3, Some(3)), "a message may rest on earlier ones alone");
    assert!(order.processed(0, None), "before the start");
}

#[test]
fn advancing_gives_up_on_what_is_below() {
    let now = Instant::now();
    let mut order = order(1);
    arrive(&mut order, 3, now);
    arrive(&mut order, 8, now);
    assert_eq!(numbers(order.advance(8)), [3, 8]);
    assert_eq!(order.expected(), 9);
}

#[test]
fn a_full_buffer_processes_early_and_never_grows() {
    let now = Instant::now();
    let budget = BufferBudget::new(2, 100);
    let mut order = ClientOrder::new(1, budget.clone(), WAIT);
    assert_eq!(order.arrive(3, 1, 3, now), Arrival::Ahead { expected: 1 });
    assert_eq!(order.arrive(6, 1, 6, now), Arrival::Ahead { expected: 1 });
    match order.arrive(5, 1, 5, now) {
        Arrival::Overflow { expected, ready } => {
            assert_eq!(expected, 1);
            assert_eq!(numbers(ready), [3, 5, 6]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(budget.messages(), 0);
    assert!(matches!(order.arrive(20, 101, 20, now), Arrival::Overflow { .. }), "bytes count too");
}

#[test]
fn a_client_that_goes_gives_its_place_back() {
    let budget = BufferBudget::new(10, 100);
    let mut order = ClientOrder::new(1, budget.clone(), WAIT);
    order.arrive(5, 10, (), Instant::now());
    assert_eq!(budget.messages(), 1);
    drop(order);
    assert_eq!(budget.messages(), 0);
}

proptest! {
    /// Any interleaving of any clients, with duplicates and losses, in a small buffer.
    #[test]
    fn every_clients_numbers_come_out_increasing_and_once(
        messages in proptest::collection::vec((0_usize..3, 0_u64..40, 0_u64..40), 1..300),
        capacity in 0_usize..12,
    ) {
        let budget = BufferBudget::new(capacity, 1_000);
        let start = Instant::now();
        let mut now = start;
        let mut clients: Vec<_> = (0..3).map(|_| ClientOrder::new(1, budget.clone(), WAIT)).collect();
        let mut out: Vec<Vec<u64>> = vec![Vec::new(); 3];
        let mut seen: Vec<std::collections::BTreeSet<u64>> = vec![Default::default(); 3];
        for (client, number, seconds) in messages {
            now += Duration::from_secs(seconds / 4);
            for (index, order) in clients.iter_mut().enumerate() {
                out[index].extend(numbers(order.expire(now)));
            }
            let before = out[client].len();
            match clients[client].arrive(number, 1, number, now) {
                Arrival::Ready(ready) | Arrival::Overflow { ready, .. } => out[client].extend(numbers(ready)),
                Arrival::Ahead { expected } => prop_assert!(expected < number),
                Arrival::Duplicate => prop_assert_eq!(before, out[client].len()),
            }
            seen[client].insert(number);
            prop_assert!(budget.messages() <= capacity);
            prop_assert_eq!(budget.messages(), clients.iter().map(ClientOrder::waiting).sum::<usize>());
        }
        for (index, order) in clients.iter_mut().enumerate() {
            out[index].extend(numbers(order.expire(now + WAIT)));
            prop_assert_eq!(order.waiting(), 0);
            prop_assert!(out[index].windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(out[index].iter().all(|number| seen[index].contains(number)));
        }
        prop_assert_eq!(budget.messages(), 0);
    }

    /// Whatever the order of arrival, when nothing is lost and the wait is not over, all come out in order.
    #[test]
    fn a_shuffle_comes_out_sorted(shuffled in Just((1_u64..=60).collect::<Vec<_>>()).prop_shuffle()) {
        let mut order = order(1);
        let now = Instant::now();
        let mut out = Vec::new();
        for number in shuffled {
            if let Arrival::Ready(ready) = arrive(&mut order, number, now) {
                out.extend(numbers(ready));
            }
        }
        prop_assert_eq!(out, (1..=60).collect::<Vec<_>>());
    }
}
