use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

/// One thing that happens to a room.
#[derive(Debug, Clone)]
enum Step {
    Enqueue,
    /// The waiter at this share of the queue goes away.
    Leave(prop::sample::Index),
    /// The first in line starts, if it may.
    Start,
    Release,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        4 => Just(Step::Enqueue),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        3 => Just(Step::Start),
        3 => Just(Step::Release),
    ];
    (0..3usize, step)
}

/// What a room must look like: the entries in their order of arrival, and the holder.
#[derive(Default)]
struct Model {
    waiting: VecDeque<Entry>,
    hold: Option<Hold>,
}

impl Model {
    fn check(&mut self, table: &Table, id: &RoomId) -> Result<(), TestCaseError> {
        prop_assert_eq!(table.queue(id).length, self.waiting.len());
        for (position, entry) in self.waiting.iter().enumerate() {
            prop_assert_eq!(entry.place.borrow().position, position);
            prop_assert!(entry.place.borrow().queue_length > position);
            // Exactly the first in line of a room in which nobody runs is called.
            prop_assert_eq!(entry.is_called(), position == 0 && self.hold.is_none());
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn any_interleaving_is_exclusive_in_order_and_leaves_nothing(steps in prop::collection::vec(step(), 0..200)) {
        let table = Arc::new(Table::default());
        let ids = [room("a"), room("b"), room("c")];
        let mut models: [Model; 3] = Default::default();
        for (index, step) in steps {
            let (id, model) = (&ids[index], &mut models[index]);
            match step {
                Step::Enqueue => model.waiting.push_back(table.enqueue(id)),
                Step::Leave(_) if model.waiting.is_empty() => {}
                Step::Leave(which) => drop(model.waiting.remove(which.index(model.waiting.len()))),
                Step::Start if model.waiting.front().is_some_and(Entry::is_called) => {
                    prop_assert!(model.hold.is_none());
                    let entry = model.waiting.pop_front().unwrap();
                    model.hold = Some(Turn { entry }.hold());
                }
                Step::Start => {}
                Step::Release => model.hold = None,
            }
            for (id, model) in ids.iter().zip(&mut models) {
                model.check(&table, id)?;
            }
            let live = models.iter().filter(|model| model.hold.is_some() || !model.waiting.is_empty()).count();
            prop_assert_eq!(table.rooms(), live);
        }
        drop(models);
        prop_assert_eq!(table.rooms(), 0);
    }
}

#[test]
fn a_burst_of_rooms_gives_its_memory_back() {
    let table = Arc::new(Table::default());
    let holds: Vec<Entry> = (0..10_000).map(|n| table.enqueue(&room(&n.to_string()))).collect();
    assert!(table.lock().rooms.capacity() >= 10_000);
    drop(holds);
    assert!(table.lock().rooms.capacity() <= 64);
}

#[test]
fn a_panic_while_holding_releases_the_room() {
    let table = Arc::new(Table::default());
    let (first, second) = (table.enqueue(&room("a")), table.enqueue(&room("a")));
    let hold = Turn { entry: first }.hold();
    let ended = std::thread::spawn(move || {
        let _held = hold;
        panic!("as a handler might");
    });
    assert!(ended.join().is_err());
    assert!(second.is_called());
}
