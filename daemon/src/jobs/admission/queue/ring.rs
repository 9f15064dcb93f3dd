//! A round of parties that take turns.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Keys in the order of their turns, each with what it queues. A new key joins at the end of the round.
#[derive(Debug)]
pub(super) struct Ring<K, V> {
    turns: VecDeque<K>,
    values: HashMap<K, V>,
}

impl<K, V> Default for Ring<K, V> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), values: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Ring<K, V> {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key)
    }

    pub(super) fn get_or_join(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        self.values.entry(key.clone()).or_insert_with(|| {
            self.turns.push_back(key.clone());
            V::default()
        })
    }

    /// In the order of their turns.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.turns.iter().filter_map(|key| self.values.get_key_value(key))
    }

    /// In no order, which is faster.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.values.values()
    }

    pub(super) fn remove(&mut self, key: &K) {
        if self.values.remove(key).is_some()
            && let Some(at) = self.turns.iter().position(|other| other == key)
        {
            self.turns.remove(at);
        }
    }

    /// It took its turn: to the end of the round.
    pub(super) fn took_turn(&mut self, key: &K) {
        if let Some(at) = self.turns.iter().position(|other| other == key)
            && let Some(key) = self.turns.remove(at)
        {
            self.turns.push_back(key);
        }
    }
}

/// What comes of the round when each list gives one item a turn.
pub(super) fn take_turns<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let mut out = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    let mut round: VecDeque<_> = lists.into_iter().map(Vec::into_iter).collect();
    while let Some(mut list) = round.pop_front() {
        if let Some(item) = list.next() {
            out.push(item);
            round.push_back(list);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round() {
        let mut ring: Ring<&str, u8> = Ring::default();
        for key in ["a", "b", "c", "a"] {
            *ring.get_or_join(&key) += 1;
        }
        ring.took_turn(&"a");
        let order = |ring: &Ring<&'static str, u8>| ring.iter().map(|(k, _)| *k).collect::<Vec<_>>();
        assert_eq!(order(&ring), ["b", "c", "a"]);
        ring.remove(&"c");
        assert_eq!(order(&ring), ["b", "a"]);
        assert_eq!(ring.get(&"a"), Some(&2));
    }

    #[test]
    fn lists_are_merged_by_turns() {
        assert_eq!(take_turns(vec![vec![1, 2, 3], vec![10], vec![20, 21]]), [1, 10, 20, 2, 21, 3]);
    }
}
