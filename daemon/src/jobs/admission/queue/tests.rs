use super::*;

pub(super) fn party(class: Class, room: &str, user: &str) -> Party {
    Party { class, room: RoomKey::Room(RoomId::new(room).unwrap()), user: UserId::new(user).unwrap() }
}

pub(super) fn need(cpu_millis: u64) -> Resources {
    Resources { cpu_millis, memory_bytes: 1 }
}

struct Line {
    queue: FairQueue,
    names: HashMap<EntryId, String>,
}

impl Line {
    fn new() -> Self {
        Self { queue: FairQueue::default(), names: HashMap::new() }
    }

    fn push(&mut self, class: Class, room: &str, user: &str, priority: i32, cpu: u64) -> EntryId {
        let id = self.queue.push(party(class, room, user), priority, need(cpu), Instant::now());
        self.names.insert(id, format!("{room}/{user}/{cpu}"));
        id
    }

    fn serve(&mut self, capacity: u64, overtakes: u32) -> Vec<String> {
        let mut served = Vec::new();
        while let Some(entry) = self.queue.pop_fitting(overtakes, |need| need.cpu_millis <= capacity) {
            served.push(self.names[&entry.id].clone());
        }
        served
    }
}

#[test]
fn rooms_take_turns_then_users_then_arrival() {
    let mut line = Line::new();
    for (room, user, nth) in
        [("a", "x", 1), ("a", "x", 2), ("a", "y", 3), ("b", "z", 4), ("a", "x", 5), ("b", "z", 6), ("c", "w", 7)]
    {
        line.push(Class::Interactive, room, user, 0, nth);
    }
    assert_eq!(line.serve(9, 0), ["a/x/1", "b/z/4", "c/w/7", "a/y/3", "b/z/6", "a/x/2", "a/x/5"]);
}

#[test]
fn a_client_priority_reorders_nothing_but_its_own_users_runs() {
    let mut line = Line::new();
    line.push(Class::Interactive, "a", "x", 0, 1);
    line.push(Class::Interactive, "a", "y", 0, 2);
    line.push(Class::Interactive, "a", "y", i32::MAX, 3);
    line.push(Class::Interactive, "a", "x", i32::MIN, 4);
    assert_eq!(line.serve(9, 0), ["a/x/1", "a/y/3", "a/x/4", "a/y/2"]);
}

#[test]
fn the_urgent_class_goes_first_and_the_others_do_not_starve() {
    let mut line = Line::new();
    line.push(Class::Batch, "b", "u", 0, 1);
    line.push(Class::Interactive, "i", "u", 0, 1);
    for _ in 0..30 {
        line.push(Class::Contest, "c", "u", 0, 1);
    }
    let order = line.queue.order();
    let expected: Vec<String> = order.iter().map(|id| line.names[id].clone()).collect();
    let served = line.serve(9, 0);
    assert_eq!(served, expected, "order() foretells what is served");
    let at = |name: &str| served.iter().position(|s| s == name).unwrap();
    assert!(served[..8].iter().all(|name| name == "c/u/1"), "{served:?}");
    assert!(at("i/u/1") <= 9 && at("b/u/1") <= 9, "{served:?}");
}

#[test]
fn a_large_run_is_passed_a_bounded_number_of_times() {
    let mut line = Line::new();
    line.push(Class::Interactive, "large", "u", 0, 50);
    for _ in 0..20 {
        line.push(Class::Interactive, "small", "u", 0, 1);
    }
    assert_eq!(line.serve(9, 5).len(), 5, "then everybody waits");
    let served = line.serve(50, 5);
    assert_eq!((served[0].as_str(), served.len()), ("large/u/50", 16), "until it fits");
}

#[test]
fn a_users_own_runs_do_not_pass_each_other() {
    let mut line = Line::new();
    line.push(Class::Interactive, "a", "u", 0, 50);
    line.push(Class::Interactive, "a", "u", 0, 1);
    assert!(line.serve(9, 100).is_empty());
}

#[test]
fn removed_entries_leave_nothing_behind() {
    let mut line = Line::new();
    let ids: Vec<_> = (0..10).map(|i| line.push(Class::Batch, &format!("r{}", i % 3), "u", 0, i)).collect();
    for id in &ids {
        assert!(line.queue.remove(*id).is_some());
        assert!(line.queue.remove(*id).is_none());
    }
    assert!(line.queue.is_empty() && line.queue.iter().next().is_none());
    assert!(line.queue.classes.iter().all(|class| class.rooms.is_empty() && class.len == 0 && class.passed_over == 0));
}

#[test]
fn outside_of_rooms_each_user_or_address_is_a_party_of_its_own() {
    let address = Some(IpAddr::from([127, 0, 0, 1]));
    let key = |room: &str, user: &str| RoomKey::new(&RoomId::new(room).unwrap(), &UserId::new(user).unwrap(), address);
    assert_eq!(key("r", "anonymous"), RoomKey::Room(RoomId::new("r").unwrap()));
    assert_eq!(key("standalone", "ann"), RoomKey::User(UserId::new("ann").unwrap()));
    assert_eq!(key("standalone", "anonymous"), RoomKey::Address(IpAddr::from([127, 0, 0, 1])));
}
