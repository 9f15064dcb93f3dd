//! Who gives way when the queue is full and somebody comes.
//!
//! A bounded queue that refuses whoever comes last would let one room fill it and shut the others out.
//! So the place is taken from whoever holds most: the newest entry of the longest queue. Each class is
//! sure of an eighth of the places; beyond that a more urgent class takes them from a less urgent one.

use super::{ClassQueue, EntryId, FairQueue, Party};

/// Each class is sure of one of so many places.
const SHARE: usize = 8;

impl FairQueue {
    /// The entry that should give way to a newcomer of this party in a full queue of `places`; none when
    /// the newcomer is who should not get in.
    #[must_use]
    pub fn who_gives_way(&self, newcomer: &Party, places: usize) -> Option<EntryId> {
        let sure = (places / SHARE).max(1);
        let own = &self.classes[newcomer.class.rank()];
        let above_share = |class: &&ClassQueue| class.len > sure;
        let less_urgent = || self.classes[newcomer.class.rank() + 1..].iter().rev().find(above_share);
        let largest = || self.classes.iter().filter(above_share).max_by_key(|class| class.len);
        let victim = if own.len < sure { less_urgent().or_else(largest) } else { less_urgent() };
        match victim {
            Some(class) => class.newest_of_longest(),
            None => self.gives_way_in_class(newcomer, own),
        }
    }

    /// Among equals: the longest room's longest user, if the newcomer's is shorter even with it.
    fn gives_way_in_class(&self, newcomer: &Party, class: &ClassQueue) -> Option<EntryId> {
        let longest = class.rooms.values().map(|room| room.len).max()?;
        let own_room = class.rooms.get(&newcomer.room);
        let own_len = own_room.map_or(0, |room| room.len);
        if own_len + 1 < longest {
            return class.newest_of_longest();
        }
        // Its own room is among the longest: within the room the same holds for its users.
        let room = own_room.filter(|_| own_len == longest)?;
        let user = room.users.values().max_by_key(|user| user.len())?;
        let own_user = room.users.get(&newcomer.user).map_or(0, |user| user.len());
        if own_user + 1 < user.len() { user.keys().next_back().map(|slot| slot.1) } else { None }
    }
}

impl ClassQueue {
    fn newest_of_longest(&self) -> Option<EntryId> {
        let room = self.rooms.values().max_by_key(|room| room.len)?;
        let user = room.users.values().max_by_key(|user| user.len())?;
        user.keys().next_back().map(|slot| slot.1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Class;
    use super::super::tests::{need, party};
    use super::*;
    use tokio::time::Instant;

    fn fill(queue: &mut FairQueue, class: Class, room: &str, user: &str, count: usize) -> Vec<EntryId> {
        (0..count).map(|_| queue.push(party(class, room, user), 0, need(1), Instant::now())).collect()
    }

    #[test]
    fn the_flooding_room_gives_way_and_gets_no_more() {
        let mut queue = FairQueue::default();
        let flood = fill(&mut queue, Class::Interactive, "flood", "f", 15);
        fill(&mut queue, Class::Interactive, "calm", "c", 1);
        let gives_way = |party| queue.who_gives_way(&party, 16);
        assert_eq!(gives_way(party(Class::Interactive, "calm2", "c")), flood.last().copied());
        assert_eq!(gives_way(party(Class::Interactive, "calm", "c")), flood.last().copied());
        assert_eq!(gives_way(party(Class::Interactive, "flood", "f")), None);
        assert_eq!(gives_way(party(Class::Interactive, "flood", "someone else")), flood.last().copied());
    }

    #[test]
    fn rooms_of_one_each_do_not_push_each_other_out() {
        let mut queue = FairQueue::default();
        for room in 0..16 {
            fill(&mut queue, Class::Interactive, &format!("r{room}"), "u", 1);
        }
        assert_eq!(queue.who_gives_way(&party(Class::Interactive, "new", "u"), 16), None);
        assert_eq!(queue.who_gives_way(&party(Class::Interactive, "r3", "u"), 16), None);
    }

    #[test]
    fn the_urgent_take_places_from_the_rest_down_to_its_share() {
        let mut queue = FairQueue::default();
        let batch = fill(&mut queue, Class::Batch, "b", "u", 3);
        fill(&mut queue, Class::Interactive, "i", "u", 13);
        let contest = party(Class::Contest, "c", "u");
        assert_eq!(queue.who_gives_way(&contest, 16), batch.last().copied());
        queue.remove(batch[2]);
        let interactive = queue.who_gives_way(&contest, 16).unwrap();
        assert!(!batch.contains(&interactive), "batch keeps its two places of sixteen");
    }

    #[test]
    fn a_class_is_sure_of_its_share_even_of_a_queue_full_of_urgent_runs() {
        let mut queue = FairQueue::default();
        for room in 0..16 {
            fill(&mut queue, Class::Contest, &format!("r{room}"), "u", 1);
        }
        let batch = party(Class::Batch, "b", "u");
        for _ in 0..2 {
            let victim = queue.who_gives_way(&batch, 16).unwrap();
            queue.remove(victim);
            queue.push(batch.clone(), 0, need(1), Instant::now());
        }
        assert_eq!(queue.who_gives_way(&batch, 16), None);
    }
}
